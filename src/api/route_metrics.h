#pragma once
// Requests and latencies by route and code, at the cost of a table look-up.

#include <atomic>
#include <chrono>
#include <memory>

#include "api/routes.h"
#include "base/metrics.h"

namespace quern::api {

/// Threads: any. A series is made at its first use and kept by pointer after that.
class RouteMetrics {
 public:
  explicit RouteMetrics(Metrics& metrics);

  /// Counts one answer. True: its latency is wanted as well (always on most routes, of one in 16 on
  /// hot ones).
  bool count(const Route* route, unsigned status);
  void observe(const Route* route, unsigned status, std::chrono::microseconds latency);

 private:
  struct Series {
    std::atomic<Counter*> requests{nullptr};
    std::atomic<Histogram*> seconds{nullptr};
  };
  Series& series(const Route* route, unsigned status);
  static MetricLabels labels(const Route* route, unsigned status);

  Metrics& metrics_;
  std::unique_ptr<Series[]> series_;
};

}  // namespace quern::api
