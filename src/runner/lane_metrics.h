#pragma once
// What a model's attempts are counted in.

#include <string>

#include "base/metrics.h"
#include "task/task.h"

namespace quern {

/// Threads: any, as each of them.
struct LaneMetrics {
  Counter& succeeded;
  Counter& failed;
  Counter& canceled;
  Counter& released;
  Counter& lost;  // no outcome of theirs was accepted
  Gauge& running;
  Gauge& slots;
  Histogram& seconds;

  /// Registers them, once a model: until remove() they are in every scrape.
  static LaneMetrics make(Metrics& metrics, const std::string& model);
  /// Nobody may use them any more.
  static void remove(Metrics& metrics, const std::string& model);

  [[nodiscard]] Counter& ended(AttemptEnd end) const;
};

}  // namespace quern
