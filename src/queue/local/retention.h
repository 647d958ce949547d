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

/// Tasks that one transaction forgets, and idempotency records where none are made meanwhile.
inline constexpr std::size_t kExpireMax = 500;
/// Idempotency records that one transaction forgets at most: more than one of the tables (kApplyChanges) may have added.
inline constexpr std::size_t kForgetMax = 32'768;

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
  /// How far the wall clock has jumped ahead of the one that ages are counted by.
  std::chrono::microseconds ahead(Now now) { return now.wall - paced_.at(now); }
  /// Idempotency records made before this are to be forgotten, and count no longer.
  WallTime made_before(Now now, std::chrono::hours ttl) { return paced_.at(now) - ttl; }

  /// Sets the next time: soon if there is more, else when the oldest task's time has come.
  void plan(Now now, bool has_more, std::optional<WallTime> oldest_ended) {
    using std::chrono::microseconds;
    microseconds wait = kIntervalMax;
    if (oldest_ended) wait = *oldest_ended - ended_before(now) + microseconds{1};
    if (has_more) {
      wait = kIntervalMore;
    } else {
      wait = std::clamp(wait, kIntervalMin, std::clamp(results_, kIntervalMin, kIntervalMax));
    }
    due_ = now.steady + wait;
  }

 private:
  // Looks cost more than what they find while the tables do not know yet what is forgotten.
  static constexpr std::chrono::microseconds kIntervalMore{10'000};
  static constexpr std::chrono::microseconds kIntervalMin{100'000};
  static constexpr std::chrono::microseconds kIntervalMax{60'000'000};

  std::chrono::microseconds results_;
  PacedWall paced_{Now{}};
  SteadyTime due_{};
};

}  // namespace quern
