// What load balancers, orchestrators and Prometheus ask; no key needed.

#include "api/errors.h"
#include "api/handlers.h"
#include "base/json.h"

namespace quern::api {
namespace {

void answer_not_ready(CallPtr call, std::string body) {
  http::Response response = make_json(*call, 503, std::move(body));
  append_retry_after(response.head, std::chrono::seconds{1});
  answer(std::move(call), std::move(response));
}

}  // namespace

void get_health(CallPtr call) { answer_json(std::move(call), 200, R"({"status":"ok"})"); }

void get_ready(CallPtr call) {
  if (call->context.draining.load())
    return answer_not_ready(std::move(call), R"({"status":"draining"})");
  const QueueStats stats = call->context.deps.queue.stats();
  if (stats.writable) return answer_json(std::move(call), 200, R"({"status":"ready"})");
  std::string body = R"({"status":"not ready","reason":)";
  append_json_string(body, stats.unwritable_reason);
  body += '}';
  answer_not_ready(std::move(call), std::move(body));
}

void get_metrics(CallPtr call) {
  http::Response response = make_response(*call, 200, "text/plain; version=0.0.4; charset=utf-8");
  response.body = call->context.deps.metrics.render();
  answer(std::move(call), std::move(response));
}

}  // namespace quern::api
