#pragma once
// The wall clock for whoever forgets things by their age. What is stored outlives the process, so its
// age is wall time; but a wall clock that jumps forward must not make everything old at once.

#include <algorithm>
#include <chrono>

#include "base/clock.h"

namespace quern {

/// Starts at the wall's time and follows it forward at most twice as fast as steady time runs: an
/// hour's jump takes effect in an hour. What the wall has shown for a day it is believed, however far
/// it jumped; so there is a day to set a clock right, and one that was only then set right is followed
/// after a day. Back it follows at once. Threads: one at a time.
class PacedWall {
 public:
  static constexpr std::chrono::hours kDoubtMax{24};

  explicit PacedWall(Now now) : wall_(now.wall), last_(now.steady), in_step_(now.steady) {}

  WallTime at(Now now) {
    wall_ += 2 * (now.steady - last_);
    last_ = now.steady;
    if (wall_ >= now.wall || now.steady - in_step_ >= kDoubtMax) {
      wall_ = now.wall;
      in_step_ = now.steady;
    }
    return wall_;
  }

 private:
  WallTime wall_;
  SteadyTime last_;     // look
  SteadyTime in_step_;  // when it last agreed with the wall
};

}  // namespace quern
