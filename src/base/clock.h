#pragma once
// Two kinds of time. Wall time is for people and for what is stored; it may jump. Steady time
// never jumps and is what leases, backoffs and timeouts are measured in.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace quern {

using WallTime = std::chrono::sys_time<std::chrono::microseconds>;
/// Microseconds since an arbitrary start that is the same for one run of the process only.
using SteadyTime = std::chrono::time_point<std::chrono::steady_clock, std::chrono::microseconds>;

struct Now {
  WallTime wall;
  SteadyTime steady;
};

/// Threads: any.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual Now now() const = 0;
};

/// The machine's own clocks.
class SystemClock final : public Clock {
 public:
  [[nodiscard]] Now now() const override;
};

/// RFC 3339 in UTC with microseconds: 2026-01-31T23:59:59.000000Z
std::string format_rfc3339(WallTime time);

}  // namespace quern
