#include "api/call.h"

#include <fmt/format.h>

#include "api/errors.h"
#include "base/text.h"

namespace quern::api {

Call::~Call() {
  if (!exchange || exchange->is_over()) return;
  guard([this] {
    log_error("a call ended without an answer",
              {{"trace", trace_id}, {"route", match.route ? std::string(match.route->label) : ""}});
    context.metrics.count(match.route, 500);
    std::move(*exchange).send(make_json(*this, 500, detail_body(kInternalError)));
  });
}

std::optional<std::string> endpoint_id(const Call& call) {
  std::string id;
  for (const Segment& segment : call.match.endpoint) {
    if (segment.text.find('/') != std::string_view::npos) return std::nullopt;
    if (!id.empty()) id += '/';
    id += segment.text;
  }
  return id;
}

std::string_view endpoint_as_sent(const Call& call) {
  if (call.match.endpoint.empty()) return {};
  const std::string_view first = call.match.endpoint.front().raw;
  const std::string_view last = call.match.endpoint.back().raw;
  return {first.data(), static_cast<std::size_t>(last.data() + last.size() - first.data())};
}

http::Response make_response(const Call& call, unsigned status, std::string_view content_type,
                             std::string_view task_id) {
  return make_response(call.context, call.heads, call.trace_id, status, content_type, task_id);
}

http::Response make_response(const Context& context, const RequestHeads& heads,
                             std::string_view trace_id, unsigned status,
                             std::string_view content_type, std::string_view task_id) {
  http::Response response;
  response.status = status;
  std::string& head = response.head;
  head.reserve(192);
  if (!content_type.empty()) append_all(head, "Content-Type: ", content_type, "\r\n");
  append_all(head, "X-Request-Id: ", trace_id,
             "\r\nX-Fal-Request-Id: ", task_id.empty() ? trace_id : task_id, "\r\n");
  context.cors.add_to(head, heads.origin);
  return response;
}

http::Response make_json(const Call& call, unsigned status, std::string body,
                         std::string_view task_id) {
  http::Response response = make_response(call, status, "application/json", task_id);
  response.body = std::move(body);
  return response;
}

namespace {

void count(Call& call, unsigned status) {
  RouteMetrics& metrics = call.context.metrics;
  if (!metrics.count(call.match.route, status)) return;
  metrics.observe(call.match.route, status, call.context.deps.clock.now().steady - call.started);
}

http::Exchange take_exchange(Call& call) {
  http::Exchange exchange = std::move(*call.exchange);
  call.exchange.reset();
  return exchange;
}

}  // namespace

void answer(CallPtr call, http::Response response) {
  if (response.body.size() > http::kUncountedBytes) {
    auto hold = call->exchange->hold(response.body.size(), account_of(*call));
    if (!hold) return answer_unavailable(std::move(call));
    response.hold = std::move(*hold);
  }
  count(*call, response.status);
  // While the server drains nothing is held. Who asked to be held asks again at once, over a
  // connection that is about to be closed, unless the answer says that this is its end.
  if (call->wait.count() > 0 && call->context.draining.load()) response.close = true;
  take_exchange(*call).send(std::move(response));
}

void answer_json(CallPtr call, unsigned status, std::string body, std::string_view task_id) {
  http::Response response = make_json(*call, status, std::move(body), task_id);
  answer(std::move(call), std::move(response));
}

http::StreamWriter answer_stream(CallPtr call, http::Response head) {
  count(*call, head.status);
  return take_exchange(*call).stream(std::move(head));
}

void run_blocking(CallPtr call, std::move_only_function<void(CallPtr)> work) {
  Context& context = call->context;
  // Held here so that a full pool leaves the call to be answered. The work may hold a large file.
  auto held = std::make_shared<CallPtr>(std::move(call));
  BlockingPool::Job piece = [held, work = std::move(work)]() mutable {
    guard([&] { work(std::move(*held)); });
  };
  if (context.blocking.try_post(piece)) return;
  CallPtr refused = std::move(*held);
  context.blocking.drop(std::move(piece));
  answer_unavailable(std::move(refused));
}

}  // namespace quern::api
