#include "task/fair_rank.h"

#include <algorithm>
#include <cmath>

namespace quern {

double rank_share(double weight) {
  if (std::isnan(weight)) weight = 1;
  return 1 / std::clamp(weight, kWeightMin, kWeightMax);
}

double FairClock::rank(double last_finish) const { return std::max(now_, last_finish); }

void FairClock::on_claimed(double rank, double finish) {
  now_ = std::max(now_, rank);
  last_finish_ = std::max(last_finish_, finish);
}

void FairClock::on_idle() { now_ = std::max(now_, last_finish_); }

void FairClock::move_to(double time) { now_ = std::max(now_, time); }

void VirtualTimeEstimate::add_first(double rank, double weight, bool has_running_max) {
  lowest_ = std::max(lowest_, rank - rank_share(weight));
  if (!has_running_max) highest_ = std::min(highest_, rank);
}

double VirtualTimeEstimate::value() const { return std::min(lowest_, highest_); }

}  // namespace quern
