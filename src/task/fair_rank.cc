#include "task/fair_rank.h"

#include <algorithm>
#include <cmath>

namespace quern {

double rank_share(double weight) {
  if (std::isnan(weight)) weight = 1;
  return 1 / std::clamp(weight, kWeightMin, kWeightMax);
}

double fair_rank(double virtual_time, double last_rank, double weight) {
  return std::max(virtual_time, last_rank) + rank_share(weight);
}

}  // namespace quern
