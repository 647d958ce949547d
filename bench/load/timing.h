#pragma once
// Time in nanoseconds since boot, and the percentiles of what was timed.

#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {

inline std::int64_t now_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

/// Milliseconds that `share` of `nanoseconds` stayed at or under; 0 when nothing was timed.
/// Reorders them.
inline double percentile_ms(std::vector<std::int64_t>& nanoseconds, double share) {
  if (nanoseconds.empty()) return 0;
  const auto last = static_cast<double>(nanoseconds.size() - 1);
  const auto at = nanoseconds.begin() + static_cast<std::ptrdiff_t>(share * last);
  std::nth_element(nanoseconds.begin(), at, nanoseconds.end());
  return static_cast<double>(*at) / 1e6;
}

}  // namespace bench
