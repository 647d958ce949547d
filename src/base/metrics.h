#pragma once
// Counters, gauges and histograms in the Prometheus text format.
//
// A metric is made once (look-up by name and labels, under a lock) and then kept by reference by
// its user: updates are one relaxed atomic operation. The registry outlives its users.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quern {

using MetricLabels = std::vector<std::pair<std::string, std::string>>;

/// Only grows. Threads: any.
class Counter {
 public:
  void add(std::uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// Threads: any.
class Gauge {
 public:
  void set(double value) { value_.store(value, std::memory_order_relaxed); }
  [[nodiscard]] double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

/// Counts in buckets with fixed upper bounds, in the metric's base unit. Threads: any.
class Histogram {
 public:
  explicit Histogram(std::span<const double> bounds);
  void observe(double value);

  [[nodiscard]] const std::vector<double>& bounds() const { return bounds_; }
  [[nodiscard]] std::uint64_t bucket(std::size_t i) const {
    return counts_[i].load(std::memory_order_relaxed);
  }
  [[nodiscard]] double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  std::vector<double> bounds_;                            // ascending, without +Inf
  std::unique_ptr<std::atomic<std::uint64_t>[]> counts_;  // bounds_.size() + 1
  std::atomic<double> sum_{0};
};

/// 50 µs to 10 s, for latencies in seconds.
std::span<const double> latency_bounds();
/// 1 to 4096 in powers of two, for batch sizes.
std::span<const double> size_bounds();

/// Names and labels must be legal for Prometheus; one name has one type and one help text. Asking
/// twice for the same name and labels gives the same metric. Threads: any.
class Metrics {
 public:
  Metrics();
  ~Metrics();

  Counter& counter(std::string_view name, std::string_view help, MetricLabels labels = {});
  Gauge& gauge(std::string_view name, std::string_view help, MetricLabels labels = {});
  Histogram& histogram(std::string_view name, std::string_view help, std::span<const double> bounds,
                       MetricLabels labels = {});
  /// Ends a metric that nobody keeps any more. There may be none.
  void remove(std::string_view name, const MetricLabels& labels);
  /// Calls `collect` before each render, so that it can set gauges from the state of the moment.
  void on_render(std::function<void()> collect);

  /// The whole registry in the text exposition format 0.0.4, families in the order of their making.
  [[nodiscard]] std::string render() const;

 private:
  enum class Type : std::uint8_t { counter, gauge, histogram };
  struct Family;
  struct Series;
  Series& series(std::string_view name, std::string_view help, Type type, MetricLabels labels,
                 std::span<const double> bounds = {});

  std::vector<std::unique_ptr<Family>>::iterator find(std::string_view name);  // with the lock

  mutable std::mutex mutex_;  // guards families_ and collectors_
  std::vector<std::unique_ptr<Family>> families_;
  std::vector<std::function<void()>> collectors_;
};

}  // namespace quern
