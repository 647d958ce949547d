#pragma once
// One model in the dispatcher: how many more of its tasks to claim, and when.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "catalog/model.h"
#include "runner/executor.h"
#include "runner/lane_metrics.h"

namespace quern {

/// A model and what runs it, as they were configured together. What was claimed for one service runs under it.
struct Service {
  std::shared_ptr<const Model> model;
  std::shared_ptr<Executor> executor;
};

/// Threads: the dispatcher's lock guards all that changes.
struct ModelLane {
  std::shared_ptr<const Service> service;  // of the catalog of the moment
  LaneMetrics metrics;

  bool served = true;     // false: the model is no longer configured
  bool has_tasks = true;  // as far as known: false only when the queue handed out fewer than asked
  bool claiming = false;  // a claim's reply has not come
  bool pumping = false;   // a thread is in pump()
  bool held = false;      // trouble: no claims until a timer lets go
  std::chrono::milliseconds hold{0};  // how long the last one was; 0: all is well
  std::uint32_t working = 0;          // attempts that hold a slot
  std::uint32_t unfinished = 0;       // attempts in all; those without a slot are being stored

  /// 0: none now. Those that are being stored may not pile up without end: at most one for each
  /// slot.
  [[nodiscard]] std::uint32_t claim_count(std::uint32_t instant_batch) const {
    if (!served || !has_tasks || claiming || held) return 0;
    if (service->executor->is_instant()) return instant_batch;
    const std::uint32_t slots = service->model->concurrency;
    const std::uint32_t free = slots - std::min(slots, working);
    const std::uint32_t room = 2 * slots - std::min(2 * slots, unfinished);
    return std::min(free, room);
  }
};

}  // namespace quern
