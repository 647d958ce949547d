#pragma once
// When ended tasks and idempotency records are due to be forgotten.
//
// Their age is counted by a paced wall clock (base/paced_wall.h). Threads: one at a time.

#include <algorithm>
#include <chrono>
#include <optional>

#include "base/clock.h"
#include "base/paced_wall.h"

namespace quern {

/// Rows that one transaction forgets while nobody waits for it.
inline constexpr std::size_t kExpireIdleMax = 500;
/// And while somebody does, at least; at most twice as many as it has commands.
inline constexpr std::size_t kExpireBusyMin = 16;

class Retention {
 public:
  explicit Retention(std::chrono::milliseconds results) : results_(results) {}

  void start(Now now) {
    paced_ = PacedWall(now);
    due_ = now.steady;
  }

  [[nodiscard]] bool is_due(Now now) const { return now.steady >= due_; }
  [[nodiscard]] SteadyTime due() const { return due_; }

  /// Tasks that ended before this are to be forgotten.
  WallTime ended_before(Now now) { return paced_.at(now) - results_; }
  /// Idempotency records made before this are to be forgotten, and count no longer.
  WallTime made_before(Now now, std::chrono::hours ttl) { return paced_.at(now) - ttl; }

  /// Sets the next time: at once if there is more, else when the oldest task's time has come.
  void plan(Now now, bool has_more, std::optional<WallTime> oldest_ended) {
    using std::chrono::microseconds;
    microseconds wait = kIntervalMax;
    if (oldest_ended) wait = *oldest_ended - ended_before(now) + microseconds{1};
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
  PacedWall paced_{Now{}};
  SteadyTime due_{};
};

}  // namespace quern
