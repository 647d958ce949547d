#pragma once
// What the queue tells of each model, as gauges.

#include <mutex>
#include <set>
#include <span>
#include <string>

#include "base/metrics.h"
#include "queue/queue.h"

namespace quern {

/// Threads: any.
class ModelGauges {
 public:
  explicit ModelGauges(Metrics& metrics) : metrics_(metrics) {}

  /// The gauges of a model that was there and is no more (a reload) end.
  void set(std::span<const ModelStats> models);

 private:
  Metrics& metrics_;
  std::mutex mutex_;  // guards shown_; two may ask for the metrics at once
  std::set<std::string> shown_;
};

}  // namespace quern
