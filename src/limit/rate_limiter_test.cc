#include "limit/rate_limiter.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace quern {
namespace {

using namespace std::chrono_literals;

constexpr SteadyTime kStart{1'000s};

int take_all(RateLimiter& limiter, std::string_view key, const RateLimit& limit, SteadyTime now) {
  int taken = 0;
  while (!limiter.take(key, limit, now)) ++taken;
  return taken;
}

TEST(RateLimiter, GivesTheBurstAtOnceAndThenTheRate) {
  RateLimiter limiter;
  const RateLimit limit{.rate = 10, .burst = 5};

  EXPECT_EQ(take_all(limiter, "a", limit, kStart), 5);
  EXPECT_EQ(take_all(limiter, "a", limit, kStart + 99ms), 0);
  EXPECT_EQ(take_all(limiter, "a", limit, kStart + 100ms), 1);
  EXPECT_EQ(take_all(limiter, "a", limit, kStart + 400ms), 3);
}

TEST(RateLimiter, NeverSavesMoreThanTheBurst) {
  RateLimiter limiter;
  const RateLimit limit{.rate = 10, .burst = 5};
  take_all(limiter, "a", limit, kStart);

  EXPECT_EQ(take_all(limiter, "a", limit, kStart + 1h), 5);
}

TEST(RateLimiter, SaysExactlyHowLongToWait) {
  for (const double rate :
       {0.001, 0.2777777777, 1.0 / 3, 0.5, 1.0, 3.0, 7.0, 30.0, 200.0, 999.0, 12'345.0}) {
    RateLimiter limiter;
    const RateLimit limit{.rate = rate, .burst = 3};
    SteadyTime now = kStart;
    take_all(limiter, "a", limit, now);

    for (int i = 0; i < 200; ++i) {
      const auto wait = limiter.take("a", limit, now);
      ASSERT_TRUE(wait.has_value()) << rate;
      ASSERT_GT(*wait, 0ms);
      ASSERT_TRUE(*wait == 1ms || limiter.take("a", limit, now + *wait - 1ms)) << rate;
      now += *wait;
      ASSERT_GE(take_all(limiter, "a", limit, now), 1) << rate;
    }
  }
}

TEST(RateLimiter, LimitsTheWaitItTells) {
  RateLimiter limiter;
  const RateLimit limit{.rate = 1e-300, .burst = 1};
  take_all(limiter, "a", limit, kStart);
  EXPECT_EQ(limiter.take("a", limit, kStart), 24h);
}

TEST(RateLimiter, KeepsKeysApart) {
  RateLimiter limiter;
  const RateLimit limit{.rate = 1, .burst = 2};
  take_all(limiter, "a", limit, kStart);

  for (int i = 0; i < 10'000; ++i) {
    EXPECT_EQ(take_all(limiter, "key-" + std::to_string(i), limit, kStart), 2);
  }
  EXPECT_TRUE(limiter.take("a", limit, kStart).has_value());
}

TEST(RateLimiter, AppliesAChangedLimitToTheSameBucket) {
  RateLimiter limiter;
  take_all(limiter, "a", {.rate = 1, .burst = 2}, kStart);

  EXPECT_EQ(limiter.take("a", {.rate = 100, .burst = 50}, kStart), 10ms);
  EXPECT_EQ(take_all(limiter, "a", {.rate = 100, .burst = 50}, kStart + 1h), 50);
  EXPECT_EQ(take_all(limiter, "a", {.rate = 1, .burst = 3}, kStart + 2h), 3);
}

TEST(RateLimiter, TakesALateReaderOfTheClockForNow) {
  RateLimiter limiter;
  const RateLimit limit{.rate = 10, .burst = 1};
  take_all(limiter, "a", limit, kStart);

  EXPECT_TRUE(limiter.take("a", limit, kStart - 5s).has_value());
  EXPECT_EQ(limiter.take("a", limit, kStart), 100ms);
}

TEST(RateLimiter, NeverGivesMoreThanItsTokensToManyThreads) {
  RateLimiter limiter;
  const RateLimit limit{.rate = 1, .burst = 5'000};
  std::atomic<int> taken{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 3'000; ++i) {
          if (!limiter.take("a", limit, kStart)) ++taken;
        }
      });
    }
  }
  EXPECT_EQ(taken, 5'000);
}

}  // namespace
}  // namespace quern
