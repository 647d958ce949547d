#include "base/clock.h"

#include <gtest/gtest.h>

namespace quern {
namespace {

using namespace std::chrono_literals;

WallTime at(std::chrono::microseconds since_epoch) { return WallTime{since_epoch}; }

TEST(Clock, WritesTimesAsRfc3339WithMicrosecondsInUtc) {
  EXPECT_EQ(format_rfc3339(at(0us)), "1970-01-01T00:00:00.000000Z");
  EXPECT_EQ(format_rfc3339(at(1'769'903'999'000'007us)), "2026-01-31T23:59:59.000007Z");
  EXPECT_EQ(format_rfc3339(at(1'709'210'096'999'999us)), "2024-02-29T12:34:56.999999Z");
}

TEST(Clock, WritesTimesBeforeTheEpoch) {
  EXPECT_EQ(format_rfc3339(at(-1us)), "1969-12-31T23:59:59.999999Z");
}

TEST(Clock, OfTheSystemNeverGoesBackInSteadyTime) {
  const SystemClock clock;
  SteadyTime last = clock.now().steady;
  for (int i = 0; i < 10'000; ++i) {
    const SteadyTime now = clock.now().steady;
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(Clock, OfTheSystemShowsTheWallTimeOfThisCentury) {
  const WallTime now = SystemClock().now().wall;

  EXPECT_GT(now, WallTime{std::chrono::sys_days{std::chrono::year{2020} / 1 / 1}});
  EXPECT_LT(now, WallTime{std::chrono::sys_days{std::chrono::year{2100} / 1 / 1}});
}

}  // namespace
}  // namespace quern
