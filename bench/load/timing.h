#pragma once
// Time in nanoseconds since boot, and the percentiles of what was timed.

#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace bench {

inline std::int64_t nanoseconds(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

inline std::int64_t now_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return nanoseconds(time);
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

/// Milliseconds for which one who comes at any moment waits, `share` of the time at most, for the end
/// of what is then under way, when things that took so long follow each other. A pause counts for
/// everyone whom it would have kept waiting.
inline double wait_percentile_ms(std::vector<std::int64_t> nanoseconds, double share) {
  std::ranges::sort(nanoseconds, std::greater());
  double total = 0;
  for (const std::int64_t took : nanoseconds) total += static_cast<double>(took);
  // With a limit between two of them, the longer ones exceed it by their sum less the limit each.
  const double exceeding = (1 - share) * total;
  double longer = 0;
  for (std::size_t count = 1; count <= nanoseconds.size(); ++count) {
    longer += static_cast<double>(nanoseconds[count - 1]);
    const double limit = (longer - exceeding) / static_cast<double>(count);
    const bool is_last = count == nanoseconds.size();
    if (is_last || limit >= static_cast<double>(nanoseconds[count])) return std::max(limit, 0.0) / 1e6;
  }
  return 0;
}

}  // namespace bench
