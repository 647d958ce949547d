#include "server/model_gauges.h"

#include <chrono>
#include <utility>

namespace quern {

void ModelGauges::set(std::span<const ModelStats> models) {
  const std::scoped_lock lock(mutex_);
  std::set<std::string> gone = std::move(shown_);
  shown_.clear();
  for (const ModelStats& model : models) {
    set(model);
    gone.erase(model.model);
    shown_.insert(model.model);
  }
  for (const std::string& model : gone) set({.model = model});
}

void ModelGauges::set(const ModelStats& model) {
  const MetricLabels labels = {{"model", model.model}};
  metrics_.gauge("quern_queued_tasks", "Tasks waiting.", labels)
      .set(static_cast<double>(model.queued));
  metrics_.gauge("quern_running_tasks", "Tasks running.", labels)
      .set(static_cast<double>(model.running));
  metrics_.gauge("quern_queue_oldest_age_seconds", "Age of the task that waits longest.", labels)
      .set(std::chrono::duration<double>(model.oldest_queued_age).count());
  metrics_.gauge("quern_model_paused", "1 while the model hands out no tasks.", labels)
      .set(model.paused ? 1 : 0);
}

}  // namespace quern
