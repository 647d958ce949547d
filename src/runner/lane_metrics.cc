#include "runner/lane_metrics.h"

#include <array>
#include <string_view>

namespace quern {
namespace {

constexpr std::string_view kAttemptsTotal = "quern_attempts_total";
constexpr std::string_view kAttemptsRunning = "quern_attempts_running";
constexpr std::string_view kSlots = "quern_slots";
constexpr std::string_view kAttemptSeconds = "quern_attempt_seconds";

constexpr std::string_view kSucceeded = "succeeded";
constexpr std::string_view kFailed = "failed";
constexpr std::string_view kCanceled = "canceled";
constexpr std::string_view kReleased = "released";
constexpr std::string_view kLost = "lost";

constexpr std::array<double, 15> kRunBounds{0.001, 0.005, 0.01, 0.05, 0.1, 0.5,  1,   2,
                                            5,     10,    30,   60,   300, 1800, 7200};

MetricLabels ended_labels(const std::string& model, std::string_view outcome) {
  return {{"model", model}, {"outcome", std::string(outcome)}};
}

}  // namespace

LaneMetrics LaneMetrics::make(Metrics& metrics, const std::string& model) {
  const auto ended = [&](std::string_view outcome) -> Counter& {
    return metrics.counter(kAttemptsTotal, "Attempts that ended, by outcome",
                           ended_labels(model, outcome));
  };
  return {
      .succeeded = ended(kSucceeded),
      .failed = ended(kFailed),
      .canceled = ended(kCanceled),
      .released = ended(kReleased),
      .lost = ended(kLost),
      .running = metrics.gauge(kAttemptsRunning, "Attempts that hold a slot", {{"model", model}}),
      .slots = metrics.gauge(kSlots, "Configured slots", {{"model", model}}),
      .seconds = metrics.histogram(kAttemptSeconds, "How long executors ran", kRunBounds,
                                   {{"model", model}})};
}

void LaneMetrics::remove(Metrics& metrics, const std::string& model) {
  for (const std::string_view outcome : {kSucceeded, kFailed, kCanceled, kReleased, kLost})
    metrics.remove(kAttemptsTotal, ended_labels(model, outcome));
  for (const std::string_view name : {kAttemptsRunning, kSlots, kAttemptSeconds})
    metrics.remove(name, {{"model", model}});
}

Counter& LaneMetrics::ended(AttemptEnd end) const {
  switch (end) {
    case AttemptEnd::succeeded:
      return succeeded;
    case AttemptEnd::failed:
      return failed;
    case AttemptEnd::canceled:
      return canceled;
    case AttemptEnd::released:
    case AttemptEnd::unstarted:
      break;
  }
  return released;
}

}  // namespace quern
