#include "server/model_gauges.h"

#include <array>
#include <chrono>
#include <utility>

namespace quern {
namespace {

struct ModelGauge {
  std::string_view name;
  std::string_view help;
  double (*value)(const ModelStats& model);
};

constexpr std::array<ModelGauge, 4> kGauges{{
    {"quern_queued_tasks", "Tasks waiting.",
     [](const ModelStats& model) { return static_cast<double>(model.queued); }},
    {"quern_running_tasks", "Tasks running.",
     [](const ModelStats& model) { return static_cast<double>(model.running); }},
    {"quern_queue_oldest_age_seconds", "Age of the task that waits longest.",
     [](const ModelStats& model) {
       return std::chrono::duration<double>(model.oldest_queued_age).count();
     }},
    {"quern_model_paused", "1 while the model hands out no tasks.",
     [](const ModelStats& model) { return model.paused ? 1.0 : 0.0; }},
}};

MetricLabels labels_of(const std::string& model) { return {{"model", model}}; }

}  // namespace

void ModelGauges::set(std::span<const ModelStats> models) {
  const std::scoped_lock lock(mutex_);
  std::set<std::string> gone = std::move(shown_);
  shown_.clear();
  for (const ModelStats& model : models) {
    for (const ModelGauge& gauge : kGauges)
      metrics_.gauge(gauge.name, gauge.help, labels_of(model.model)).set(gauge.value(model));
    gone.erase(model.model);
    shown_.insert(model.model);
  }
  for (const std::string& model : gone)
    for (const ModelGauge& gauge : kGauges) metrics_.remove(gauge.name, labels_of(model));
}

}  // namespace quern
