#include "queue/local/body_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <string>

namespace quern {
namespace {

constexpr std::size_t kSlab = 256 * 1024;
constexpr std::size_t kLimit = 16 * kSlab;

/// An id of this sequence.
TaskId make_id(std::int64_t sequence) {
  const auto number = static_cast<std::uint64_t>(sequence);
  return {.high = number >> 4U, .low = number << 60U};
}

/// A body that tells its sequence.
std::string make_body(std::int64_t sequence, std::size_t bytes) {
  std::string body = std::to_string(sequence);
  body.resize(std::max(bytes, body.size()), 'x');
  return body;
}

TEST(BodyCache, GivesEachBodyOnceInTheOrderOfSubmission) {
  BodyCache cache(kLimit);
  for (std::int64_t i = 1; i <= 5'000; ++i) cache.put(make_id(7 * i), make_body(i, 160));

  for (std::int64_t i = 1; i <= 5'000; ++i) {
    EXPECT_EQ(cache.take(make_id(7 * i)), make_body(i, 160));
    EXPECT_FALSE(cache.take(make_id(7 * i)));
  }
}

TEST(BodyCache, GivesBodiesInAnyOrder) {
  BodyCache cache(kLimit);
  std::vector<std::int64_t> order;
  for (std::int64_t i = 1; i <= 5'000; ++i) {
    cache.put(make_id(i), make_body(i, 160));
    order.push_back(i);
  }
  std::shuffle(order.begin(), order.end(), std::mt19937(1));

  for (const std::int64_t i : order) EXPECT_EQ(cache.take(make_id(i)), make_body(i, 160));

  EXPECT_LE(cache.bytes(), kSlab);
}

TEST(BodyCache, HasNothingThatWasNotPut) {
  BodyCache cache(kLimit);
  EXPECT_FALSE(cache.take(make_id(5)));
  for (std::int64_t i = 10; i <= 30'000; i += 10) cache.put(make_id(i), make_body(i, 160));

  for (const std::int64_t absent : {1, 9, 11, 15'555, 29'999, 30'001}) {
    EXPECT_FALSE(cache.take(make_id(absent))) << absent;
  }
  EXPECT_TRUE(cache.take(make_id(10)));
  EXPECT_FALSE(cache.take(make_id(11)));
  EXPECT_TRUE(cache.take(make_id(30'000)));
}

TEST(BodyCache, KeepsAnEmptyBody) {
  BodyCache cache(kLimit);
  cache.put(make_id(1), "");
  cache.put(make_id(2), "two");
  cache.put(make_id(3), "");

  EXPECT_EQ(cache.take(make_id(3)), "");
  EXPECT_EQ(cache.take(make_id(1)), "");
  EXPECT_FALSE(cache.take(make_id(1)));
  EXPECT_EQ(cache.take(make_id(2)), "two");
}

TEST(BodyCache, LetsTheOldestGoAndNeverExceedsItsLimit) {
  constexpr std::int64_t kCount = 40'000;
  BodyCache cache(kLimit);
  for (std::int64_t i = 1; i <= kCount; ++i) {
    cache.put(make_id(i), make_body(i, 240));
    ASSERT_LE(cache.bytes(), kLimit);
  }

  std::int64_t kept = 0;
  while (cache.take(make_id(kCount - kept))) ++kept;
  // The last of the slabs is between empty and full.
  EXPECT_GT(kept, static_cast<std::int64_t>((kLimit - kSlab) / 256 - 16));
  EXPECT_LE(kept, static_cast<std::int64_t>(kLimit / 256));
  for (std::int64_t i = 1; i <= kCount - kept; ++i) EXPECT_FALSE(cache.take(make_id(i)));
}

TEST(BodyCache, KeepsBodiesOfUpToAnEighthOfItsLimit) {
  BodyCache cache(kLimit);
  cache.put(make_id(1), make_body(1, 100));
  cache.put(make_id(2), make_body(2, kLimit / 8 + 1));
  cache.put(make_id(3), make_body(3, kLimit / 8 - 1'000));
  cache.put(make_id(4), make_body(4, 100));
  EXPECT_LE(cache.bytes(), 3 * kSlab) << "what follows a large body is beside it";

  EXPECT_EQ(cache.take(make_id(1)), make_body(1, 100));
  EXPECT_FALSE(cache.take(make_id(2))) << "too large a part of the whole";
  EXPECT_EQ(cache.take(make_id(3)), make_body(3, kLimit / 8 - 1'000));
  EXPECT_EQ(cache.take(make_id(4)), make_body(4, 100));
  EXPECT_LE(cache.bytes(), kSlab);
}

TEST(BodyCache, IsNothingWithoutALimitToSpeakOf) {
  for (const std::size_t limit : {0, 1, 100, 127}) {
    BodyCache cache(limit);
    cache.put(make_id(1), "");
    EXPECT_FALSE(cache.take(make_id(1)));
    EXPECT_EQ(cache.bytes(), 0U);
  }
}

TEST(BodyCache, TakesLittleMemoryWhereBodiesAreTakenSoon) {
  BodyCache cache(kLimit);
  std::int64_t taken = 0;
  for (std::int64_t i = 1; i <= 30'000; ++i) {
    cache.put(make_id(i), make_body(i, 160));
    if (i % 64 != 0) continue;
    while (taken < i) EXPECT_TRUE(cache.take(make_id(++taken)));
    ASSERT_LE(cache.bytes(), kSlab);
  }
}

TEST(BodyCache, FollowsAFlowThroughFewSlabs) {
  BodyCache cache(kLimit);
  for (std::int64_t i = 1; i <= 30'000; ++i) {
    cache.put(make_id(i), make_body(i, 160));
    ASSERT_LE(cache.bytes(), 3 * kSlab);
    if (i <= 1'000) continue;
    EXPECT_EQ(cache.take(make_id(i - 1'000)), make_body(i - 1'000, 160));
  }
}

TEST(BodyCache, ForgetsASlabThatIsTakenBetweenOthers) {
  BodyCache cache(kLimit);
  const std::size_t bytes = kSlab / 2 - 100;  // two a slab
  for (std::int64_t i = 1; i <= 8; ++i) cache.put(make_id(i), make_body(i, bytes));
  ASSERT_EQ(cache.bytes(), 4 * kSlab);

  for (const std::int64_t i : {3, 4, 5, 6}) EXPECT_EQ(cache.take(make_id(i)), make_body(i, bytes));

  EXPECT_EQ(cache.bytes(), 3 * kSlab) << "one of the two is spare";
  for (const std::int64_t i : {3, 4, 5, 6}) EXPECT_FALSE(cache.take(make_id(i)));
  for (const std::int64_t i : {8, 1, 7, 2}) EXPECT_EQ(cache.take(make_id(i)), make_body(i, bytes));
}

TEST(BodyCache, GivesWhatWasPutUnderRandomUse) {
  for (const std::size_t limit : {std::size_t{8'000}, std::size_t{100'000}, 2 * kLimit}) {
    BodyCache cache(limit);
    std::mt19937 random(static_cast<unsigned>(limit));
    std::map<std::int64_t, std::string> bodies;
    std::int64_t sequence = 0;
    for (int step = 0; step < 10'000; ++step) {
      if (random() % 5 < 3) {
        sequence += 1 + static_cast<std::int64_t>(random() % 3);
        const std::string body =
            make_body(sequence, random() % (random() % 50 == 0 ? limit / 6 : 300));
        cache.put(make_id(sequence), body);
        if (body.size() <= limit / 8 - 16) bodies.emplace(sequence, body);
      } else {
        const std::int64_t back = random() % 4 == 0 ? 0 : static_cast<std::int64_t>(random() % 999);
        const auto expected = bodies.find(sequence - back);
        const std::optional<std::string> body = cache.take(make_id(sequence - back));
        if (expected == bodies.end()) {
          ASSERT_FALSE(body);
          continue;
        }
        // An older one may have been let go.
        ASSERT_TRUE(body || back > 0);
        ASSERT_EQ(body.value_or(expected->second), expected->second);
        bodies.erase(expected);
      }
      ASSERT_LE(cache.bytes(), limit);
    }
  }
}

}  // namespace
}  // namespace quern
