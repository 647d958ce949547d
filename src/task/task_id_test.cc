#include "task/task_id.h"

#include <gtest/gtest.h>

#include <set>
#include <unordered_set>

#include "testing/seeded_random.h"

namespace quern {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr WallTime kNow{microseconds{1'770'000'000'123'456}};

TEST(TaskId, IsWrittenAsAPrefixAndTwentySixDigits) {
  EXPECT_EQ((TaskId{}).to_string(), "mmsu_00000000000000000000000000");
  EXPECT_EQ((TaskId{~0ULL, ~0ULL}).to_string(), "mmsu_7zzzzzzzzzzzzzzzzzzzzzzzzz");
  EXPECT_EQ((TaskId{0, 31}).to_string(), "mmsu_0000000000000000000000000z");
  EXPECT_EQ((TaskId{1, 0}).to_string(), "mmsu_0000000000000g000000000000");
  EXPECT_EQ((TaskId{0, 1ULL << 60U}).to_string(), "mmsu_00000000000001000000000000");
}

TEST(TaskId, IsReadBackAsWritten) {
  SeededRandom random(1);
  for (int i = 0; i < 10'000; ++i) {
    const TaskId id{random.next_u64(), random.next_u64()};

    EXPECT_EQ(TaskId::parse(id.to_string()), id);
  }
}

TEST(TaskId, SortsAsTextLikeAsANumber) {
  SeededRandom random(2);
  for (int i = 0; i < 1'000; ++i) {
    const TaskId a{random.next_u64() & 3U, random.next_u64()};
    const TaskId b{random.next_u64() & 3U, random.next_u64()};

    EXPECT_EQ(a < b, a.to_string() < b.to_string());
  }
}

TEST(TaskId, RefusesEverythingButItsOwnForm) {
  const std::string good = "mmsu_01jh2k3m4n5p6q7r8s9tavbwcx";
  ASSERT_TRUE(TaskId::parse(good));

  EXPECT_FALSE(TaskId::parse(""));
  EXPECT_FALSE(TaskId::parse("mmsu_"));
  EXPECT_FALSE(TaskId::parse(good + "0"));
  EXPECT_FALSE(TaskId::parse(good.substr(0, 30)));
  EXPECT_FALSE(TaskId::parse("mmsu-01jh2k3m4n5p6q7r8s9tavbwcx"));
  EXPECT_FALSE(TaskId::parse("MMSU_01jh2k3m4n5p6q7r8s9tavbwcx"));
  EXPECT_FALSE(TaskId::parse("mmsu_01JH2K3M4N5P6Q7R8S9TAVBWCX"));  // upper case
  EXPECT_FALSE(TaskId::parse("mmsu_81jh2k3m4n5p6q7r8s9tavbwcx"));  // over 128 bits
  EXPECT_FALSE(TaskId::parse("mmsu_z1jh2k3m4n5p6q7r8s9tavbwcx"));
  for (const char bad : {'i', 'l', 'o', 'u', '-', ' ', '\0', '\xff', '/', ':', '@', '`', '{'}) {
    for (const std::size_t at : {5U, 17U, 18U, 19U, 30U}) {
      std::string text = good;
      text[at] = bad;
      EXPECT_FALSE(TaskId::parse(text)) << text;
    }
  }
}

TEST(TaskIdGenerator, TellsTheTimeInTheFirstDigits) {
  SeededRandom random(3);
  TaskIdGenerator generator(random, 0);

  const TaskId id = generator.next(kNow);

  EXPECT_EQ(id.high >> 16U, 1'770'000'000'123U);
  EXPECT_EQ(id.sequence(), 1'770'000'000'123LL << 20U);
}

TEST(TaskIdGenerator, AscendsWhateverTheWallClockDoes) {
  SeededRandom random(4);
  TaskIdGenerator generator(random, 0);
  TaskId last = generator.next(kNow);
  const WallTime times[] = {kNow,
                            kNow - std::chrono::hours{48},
                            kNow + milliseconds{1},
                            kNow,
                            WallTime{microseconds{-1}},
                            kNow + std::chrono::hours{1},
                            kNow,
                            WallTime::max(),
                            kNow};
  for (const WallTime now : times) {
    const TaskId id = generator.next(now);

    EXPECT_GT(id.sequence(), last.sequence());
    EXPECT_GT(id, last);
    last = id;
  }
}

TEST(TaskIdGenerator, CountsOnAfterTheHighestStoredId) {
  SeededRandom random(5);
  const std::int64_t stored = (1'880'000'000'000LL << 20U) + 7;  // from a clock that was ahead
  TaskIdGenerator generator(random, stored);

  EXPECT_EQ(generator.next(kNow).sequence(), stored + 1);
}

TEST(TaskIdGenerator, MakesMoreThanAMillionIdsWithinAMillisecond) {
  SeededRandom random(6);
  TaskIdGenerator generator(random, 0);
  const std::int64_t first = generator.next(kNow).sequence();
  for (int i = 1; i < (1 << 20) + 10; ++i) {
    ASSERT_EQ(generator.next(kNow).sequence(), first + i);
  }
}

TEST(TaskIdGenerator, LeavesSixtyBitsToChance) {
  SeededRandom one(7);
  SeededRandom other(8);
  const TaskId a = TaskIdGenerator(one, 0).next(kNow);
  const TaskId b = TaskIdGenerator(other, 0).next(kNow);

  EXPECT_EQ(a.sequence(), b.sequence());
  EXPECT_NE(a, b);
  EXPECT_NE(std::hash<TaskId>{}(a), std::hash<TaskId>{}(b));
}

}  // namespace
}  // namespace quern
