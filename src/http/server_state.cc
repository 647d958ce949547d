#include "http/server_state.h"

#include <string>
#include <utility>

namespace quern::http {

bool ConnectionCount::try_add(std::size_t max) {
  const std::scoped_lock lock(mutex_);
  if (count_ >= max) return false;
  gauge_.set(static_cast<double>(++count_));
  return true;
}

void ConnectionCount::remove() {
  const std::scoped_lock lock(mutex_);
  gauge_.set(static_cast<double>(--count_));
  if (count_ == 0) changed_.notify_all();
}

std::size_t ConnectionCount::get() const {
  const std::scoped_lock lock(mutex_);
  return count_;
}

bool ConnectionCount::wait_until_none(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, timeout, [this] { return count_ == 0; });
}

ServerState::ServerState(ServerOptions options_given, Handler handler_given, Metrics& metrics_given)
    : options(std::move(options_given)),
      handler(std::move(handler_given)),
      metrics(metrics_given),
      accepted(metrics.counter("quern_http_connections_accepted_total", "Connections accepted.")),
      refused(metrics.counter("quern_http_connections_refused_total",
                              "Connections closed at once because too many were open.")),
      accept_failures(
          metrics.counter("quern_http_accept_failures_total",
                          "Failed accepts, after each of which accepting rests, and connections "
                          "that could not be served.")),
      connections(metrics.gauge("quern_http_connections", "Connections open now.")),
      memory(options.memory_bytes_max, metrics) {}

Response ServerState::make_fault_answer(const Request* request, const Fault& fault) {
  metrics
      .counter("quern_http_protocol_errors_total",
               "Requests refused before they reached a route, by status.",
               {{"status", std::to_string(fault.status)}})
      .add();
  if (options.protocol_error) return options.protocol_error(request, fault.status, fault.reason);
  Response response;
  response.status = fault.status;
  response.add_header("Content-Type", "text/plain");
  response.body.append(fault.reason).append("\n");
  return response;
}

}  // namespace quern::http
