#pragma once
// Fairness is one number fixed at submit: start-time fair queueing (Goyal, Vin, Cheng 1996).
//
// Each line, the tasks of one priority of a model, has a virtual time: the rank of the task claimed
// last. A task's rank is its start tag: the virtual time, or the finish tag of its key's task
// before it if that is later. Its finish tag is one share, 1/weight, after its start. Claim order
// is (priority, rank, id).
//
// So the rest of a key with 100,000 waiting tasks ranks behind the virtual time, and a key that
// comes new ranks at it: it waits for what runs, and for tasks of other keys that rank at the very
// same time, at most one a key. Who comes new at one virtual time is served in order of arrival.

#include <cstdint>
#include <limits>

#include "task/task.h"

namespace quern {

/// Weights are clamped to these, so that ranks stay finite and keep ascending.
inline constexpr double kWeightMin = 1e-3;
inline constexpr double kWeightMax = 1e6;
/// One claim of this many serves low priority first, so that it cannot starve.
inline constexpr std::uint64_t kLowShare = 10;

/// What one task of a key with this weight takes of the virtual time: 1/weight.
[[nodiscard]] double rank_share(double weight);

/// The finish tag of a task.
[[nodiscard]] inline double finish_tag(double rank, double weight) {
  return rank + rank_share(weight);
}

/// The virtual time of one line. It never moves back.
class FairClock {
 public:
  [[nodiscard]] double now() const { return now_; }

  /// The rank of a key's next task. `last_finish`: the finish tag of its task before, or 0.
  [[nodiscard]] double rank(double last_finish) const;
  /// A task was claimed.
  void on_claimed(double rank, double finish);
  /// Nothing waits and nothing runs any more. The virtual time moves on to the end of what was
  /// served, so that who used an idle model owes nothing for it.
  void on_idle();
  /// After a restart, when tasks that wait tell more than those that were claimed.
  void move_to(double time);

  friend bool operator==(const FairClock&, const FairClock&) = default;

 private:
  double now_ = 0;
  double last_finish_ = 0;  // the highest of the claimed tasks
};

/// Where the virtual time of a line was, told by the tasks that waited in it.
///
/// Of each key it takes the first task that never started. The virtual time had come to within one
/// share of it, as that is where the task before ended, and had not passed it, unless the key was at
/// its limit of running tasks. So the estimate is early by the least of these keys' shares at most: a
/// key that comes new gains one task by it, if it weighs as much as the heaviest of them.
class VirtualTimeEstimate {
 public:
  void add_first(double rank, double weight, bool has_running_max);
  [[nodiscard]] double value() const;

 private:
  double lowest_ = 0;
  double highest_ = std::numeric_limits<double>::infinity();
};

/// Which priority the model's next claim serves first, after `claims` earlier ones.
[[nodiscard]] constexpr Priority first_served(std::uint64_t claims) {
  return claims % kLowShare == kLowShare - 1 ? Priority::low : Priority::normal;
}

/// Claim order within one line. Ranks are never NaN.
[[nodiscard]] inline bool is_claimed_before(double rank_a, const TaskId& a, double rank_b,
                                            const TaskId& b) {
  return rank_a != rank_b ? rank_a < rank_b : a < b;
}

}  // namespace quern
