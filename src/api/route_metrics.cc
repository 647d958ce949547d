#include "api/route_metrics.h"

#include <algorithm>

namespace quern::api {
namespace {

constexpr unsigned kStatusMin = 100;
constexpr unsigned kStatusMax = 599;
constexpr std::size_t kStatuses = kStatusMax - kStatusMin + 1;
constexpr unsigned kSampleEvery = 16;

}  // namespace

RouteMetrics::RouteMetrics(Metrics& metrics)
    : metrics_(metrics), series_(new Series[(all_routes().size() + 1) * kStatuses]) {}

RouteMetrics::Series& RouteMetrics::series(const Route* route, unsigned status) {
  const std::size_t row = route == nullptr ? all_routes().size()
                                           : static_cast<std::size_t>(route - all_routes().data());
  return series_[row * kStatuses + (std::clamp(status, kStatusMin, kStatusMax) - kStatusMin)];
}

MetricLabels RouteMetrics::labels(const Route* route, unsigned status) {
  return {{"route", std::string(route == nullptr ? "none" : route->label)},
          {"code", std::to_string(status)}};
}

bool RouteMetrics::count(const Route* route, unsigned status) {
  std::atomic<Counter*>& slot = series(route, status).requests;
  Counter* counter = slot.load(std::memory_order_acquire);
  if (counter == nullptr) {
    counter = &metrics_.counter("quern_http_requests_total", "Answers by route and code",
                                labels(route, status));
    slot.store(counter, std::memory_order_release);
  }
  counter->add();
  if (route == nullptr || !route->hot) return true;
  thread_local unsigned tick = 0;
  return tick++ % kSampleEvery == 0;
}

void RouteMetrics::observe(const Route* route, unsigned status, std::chrono::microseconds latency) {
  std::atomic<Histogram*>& slot = series(route, status).seconds;
  Histogram* histogram = slot.load(std::memory_order_acquire);
  if (histogram == nullptr) {
    histogram = &metrics_.histogram(
        "quern_http_request_seconds",
        "Time from a request's head to its answer; of creates and polls one in 16 is measured",
        latency_bounds(), labels(route, status));
    slot.store(histogram, std::memory_order_release);
  }
  histogram->observe(std::chrono::duration<double>(latency).count());
}

}  // namespace quern::api
