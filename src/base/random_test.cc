#include "base/random.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "testing/seeded_random.h"

namespace quern {
namespace {

TEST(Random, WritesHexInLowerCaseWithTwoDigitsAByte) {
  SystemRandom random;

  const std::string text = random_hex(random, 16);

  EXPECT_EQ(text.size(), 32U);
  EXPECT_EQ(text.find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_EQ(random_hex(random, 0), "");
}

TEST(Random, OfTheSystemIsNotTheSameInAChild) {
  SystemRandom random;
  static_cast<void>(random.next_u64());  // from here on there is a pool
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const std::uint64_t value = random.next_u64();
    ::_exit(::write(ends[1], &value, sizeof value) == sizeof value ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  std::uint64_t of_child = 0;
  ASSERT_EQ(::read(ends[0], &of_child, sizeof of_child), ssize_t{sizeof of_child});

  EXPECT_NE(random.next_u64(), of_child);

  for (const int end : ends) ::close(end);
}

TEST(Random, FromTheSameSeedIsTheSame) {
  SeededRandom one(7);
  SeededRandom other(7);
  SeededRandom different(8);

  const std::uint64_t value = one.next_u64();

  EXPECT_EQ(value, other.next_u64());
  EXPECT_NE(value, different.next_u64());
}

TEST(Random, OfTheSystemFillsRequestsSmallerAndLargerThanItsPool) {
  SystemRandom random;
  for (const std::size_t size : {1U, 7U, 1000U, 1024U, 1025U, 100'000U}) {
    std::vector<std::byte> bytes(size + 1);  // one more, which must stay as it is

    random.fill(std::span(bytes).first(size));

    EXPECT_EQ(bytes.back(), std::byte{0});
    // A zero byte is likely among many, 64 in a row are not.
    const auto zeros = std::ranges::search_n(bytes.begin(), bytes.end() - 1, 64, std::byte{0});
    EXPECT_TRUE(zeros.empty());
  }
}

TEST(Random, OfTheSystemNeverRepeatsWhateverThreadAsks) {
  std::mutex mutex;  // guards seen
  std::set<std::uint64_t> seen;
  const auto draw = [&] {
    SystemRandom random;
    for (int i = 0; i < 5'000; ++i) {
      const std::uint64_t value = random.next_u64();
      const std::scoped_lock lock(mutex);
      EXPECT_TRUE(seen.insert(value).second);
    }
  };

  {
    const std::jthread one(draw);
    const std::jthread other(draw);
  }

  EXPECT_EQ(seen.size(), 10'000U);
}

}  // namespace
}  // namespace quern
