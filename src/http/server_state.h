#pragma once
// What all threads and connections of one server share. Private to this module.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>

#include "base/blocking_pool.h"
#include "base/metrics.h"
#include "http/byte_budget.h"
#include "http/head_parser.h"
#include "http/server.h"

namespace quern::http {

/// Threads: any.
class ConnectionCount {
 public:
  explicit ConnectionCount(Gauge& gauge) : gauge_(gauge) {}

  /// False, and nothing is counted, if there are `max` already.
  bool try_add(std::size_t max);
  void remove();
  [[nodiscard]] std::size_t get() const;
  /// Waits until there is none. False if `timeout` passed first.
  bool wait_until_none(std::chrono::milliseconds timeout);

 private:
  mutable std::mutex mutex_;  // guards count_, and keeps the gauge in step with it
  std::condition_variable changed_;
  std::size_t count_ = 0;
  Gauge& gauge_;
};

struct ServerState {
  ServerState(ServerOptions options_given, Handler handler_given, Metrics& metrics_given);

  /// The answer to what is no request, of which `request` is what is known, or null; counts it.
  Response make_fault_answer(const Request* request, const Fault& fault);

  const ServerOptions options;
  const Handler handler;
  Metrics& metrics;
  Counter& accepted;
  Counter& refused;
  Counter& accept_failures;
  ConnectionCount connections;
  ByteBudget memory;
  BlockingPool pool;
  std::atomic<bool> stopping{false};
};

}  // namespace quern::http
