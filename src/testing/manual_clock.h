#pragma once
// A clock that moves when a test says so. The two times move together unless the test jumps the
// wall.

#include <mutex>

#include "base/clock.h"

namespace quern {

/// Threads: any.
class ManualClock final : public Clock {
 public:
  [[nodiscard]] Now now() const override {
    const std::scoped_lock lock(mutex_);
    return now_;
  }
  void advance(std::chrono::microseconds by) {
    const std::scoped_lock lock(mutex_);
    now_.wall += by;
    now_.steady += by;
  }
  void jump_wall(std::chrono::microseconds by) {
    const std::scoped_lock lock(mutex_);
    now_.wall += by;
  }

 private:
  mutable std::mutex mutex_;  // guards now_
  Now now_{WallTime{std::chrono::microseconds{1'770'000'000'000'000}},
           SteadyTime{std::chrono::microseconds{1'000'000'000}}};
};

}  // namespace quern
