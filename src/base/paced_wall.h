#pragma once
// The wall clock for whoever forgets things by their age. What is stored outlives the process, so its
// age is wall time; but a wall clock that jumps forward must not make everything old at once.

#include <algorithm>

#include "base/clock.h"

namespace quern {

/// Starts at the wall's time and follows it forward at most twice as fast as steady time runs: a
/// day's jump takes effect in a day, which is time to set the clock right. Back it follows at once.
/// Threads: one at a time.
class PacedWall {
 public:
  explicit PacedWall(Now now) : wall_(now.wall), last_(now.steady) {}

  WallTime at(Now now) {
    const auto elapsed = now.steady - last_;
    last_ = now.steady;
    wall_ = std::min(now.wall, wall_ + 2 * elapsed);
    return wall_;
  }

 private:
  WallTime wall_;
  SteadyTime last_;
};

}  // namespace quern
