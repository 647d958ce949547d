#pragma once
// When ended tasks and idempotency records are due to be forgotten.
//
// By wall time, since they outlive the process; but a wall clock that jumps forward must not forget
// everything at once, so this clock follows it at most twice as fast as steady time runs. A day's
// jump takes effect in a day, which is time to set the clock right. It starts at the wall's time.
// Threads: one at a time.

#include <algorithm>
#include <chrono>
#include <optional>

#include "base/clock.h"

namespace quern {

/// Rows that one transaction forgets while nobody waits for it.
inline constexpr std::size_t kExpireIdleMax = 500;
/// And while somebody does, at least; at most twice as many as it has commands.
inline constexpr std::size_t kExpireBusyMin = 16;

class Retention {
 public:
  explicit Retention(std::chrono::milliseconds results) : results_(results) {}

  void start(Now now) {
    paced_ = now.wall;
    last_ = now.steady;
    due_ = now.steady;
  }

  [[nodiscard]] bool is_due(Now now) const { return now.steady >= due_; }
  [[nodiscard]] SteadyTime due() const { return due_; }

  /// Tasks that ended before this are to be forgotten. Advances the paced clock.
  WallTime ended_before(Now now) {
    const auto elapsed = now.steady - last_;
    last_ = now.steady;
    paced_ = std::min(now.wall, paced_ + 2 * elapsed);
    return paced_ - results_;
  }
  /// Records made before this too, after a call of ended_before().
  [[nodiscard]] WallTime made_before(std::chrono::hours ttl) const { return paced_ - ttl; }

  /// Sets the next time: at once if there is more, else when the oldest task's time has come.
  void plan(Now now, bool has_more, std::optional<WallTime> oldest_ended) {
    using std::chrono::microseconds;
    microseconds wait = kIntervalMax;
    if (oldest_ended) wait = *oldest_ended + results_ - paced_ + microseconds{1};
    if (has_more) {
      wait = microseconds{0};
    } else {
      wait = std::clamp(wait, kIntervalMin, std::clamp(results_, kIntervalMin, kIntervalMax));
    }
    due_ = now.steady + wait;
  }

 private:
  static constexpr std::chrono::microseconds kIntervalMin{100'000};
  static constexpr std::chrono::microseconds kIntervalMax{60'000'000};

  std::chrono::microseconds results_;
  WallTime paced_{};
  SteadyTime last_{};
  SteadyTime due_{};
};

}  // namespace quern
