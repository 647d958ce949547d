#pragma once
// Fairness is one number fixed at submit: start-time fair queueing (Goyal, Vin, Cheng 1996).
//
// Each model has a virtual time, the rank of the last task claimed, which never moves back. A key's
// next task ranks one share after that or after the key's own last task, whichever is later, so a
// key with 100,000 waiting tasks does not delay a key with one. Claim order is (priority, rank,
// id).

#include <cstdint>

#include "task/task.h"

namespace quern {

/// Weights are clamped to these, so that ranks stay finite and keep ascending.
inline constexpr double kWeightMin = 1e-3;
inline constexpr double kWeightMax = 1e6;
/// One claim of this many serves low priority first, so that it cannot starve.
inline constexpr std::uint64_t kLowShare = 10;

/// What one task of a key with this weight costs in rank: 1/weight.
[[nodiscard]] double rank_share(double weight);

/// `last_rank`: of the key's last task in this model, or 0.
[[nodiscard]] double fair_rank(double virtual_time, double last_rank, double weight);

/// Which priority the model's next claim serves first, after `claims` earlier ones.
[[nodiscard]] constexpr Priority first_served(std::uint64_t claims) {
  return claims % kLowShare == kLowShare - 1 ? Priority::low : Priority::normal;
}

/// Claim order within one priority. Ranks are never NaN.
[[nodiscard]] inline bool is_claimed_before(double rank_a, const TaskId& a, double rank_b,
                                            const TaskId& b) {
  return rank_a != rank_b ? rank_a < rank_b : a < b;
}

}  // namespace quern
