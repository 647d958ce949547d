#include "api/errors.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"

namespace quern::api {
namespace {

constexpr std::string_view kRateLimited = "Rate limit exceeded, please try again later";
constexpr std::string_view kCredentialMissing = "Authorization Bearer or Key token is required";
constexpr std::string_view kKeyUnknown = "Invalid API key";

// {"error":{"code":…,"message":…},"request_id":…}; on the fal mount with "detail" as well.
std::string envelope(const Call& call, std::string_view code, std::string_view message) {
  std::string body = "{";
  if (call.dialect() == Dialect::fal) {
    body += R"("detail":)";
    append_json_string(body, message);
    body += ',';
  }
  body += R"("error":{"code":")";
  body += code;
  body += R"(","message":)";
  append_json_string(body, message);
  body += R"(},"request_id":")";
  body += call.trace_id;
  body += "\"}";
  return body;
}

void append_fault(std::string& body, std::string_view place, const InputFault& fault) {
  body += R"({"loc":[)";
  append_json_string(body, place);
  for (const json::value& step : fault.loc) {
    body += ',';
    if (step.is_string())
      append_json_string(body, step.get_string());
    else
      body += to_json(step);
  }
  body += R"(],"msg":)";
  append_json_string(body, fault.msg);
  body += R"(,"type":)";
  append_json_string(body, fault.type);
  body += '}';
}

}  // namespace

std::string detail_body(std::string_view detail) {
  std::string body = R"({"detail":)";
  append_json_string(body, detail);
  body += '}';
  return body;
}

void append_retry_after(std::string& head, std::chrono::milliseconds wait) {
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(wait).count();
  fmt::format_to(std::back_inserter(head), "Retry-After: {}\r\n", std::max<long>(seconds, 1));
}

void answer_fault(CallPtr call, const Fault& fault) {
  answer_json(std::move(call), fault.status, detail_body(fault));
}

void answer_detail(CallPtr call, unsigned status, std::string_view detail) {
  answer_json(std::move(call), status, detail_body(detail));
}

void answer_unauthorized(CallPtr call, AuthFault fault) {
  const std::string_view message =
      fault == AuthFault::unknown_key ? kKeyUnknown : kCredentialMissing;
  http::Response response = make_json(*call, 401, envelope(*call, "UNAUTHORIZED", message));
  response.head += "WWW-Authenticate: Key, Bearer\r\n";
  answer(std::move(call), std::move(response));
}

void answer_rate_limited(CallPtr call, std::chrono::milliseconds retry_after) {
  http::Response response =
      make_json(*call, 429, envelope(*call, "RATE_LIMIT_EXCEEDED", kRateLimited));
  append_retry_after(response.head, retry_after);
  answer(std::move(call), std::move(response));
}

void answer_queue_full(CallPtr call, std::chrono::milliseconds retry_after,
                       std::string_view task_id) {
  std::string body = call->dialect() == Dialect::fal
                         ? envelope(*call, "QUEUE_FULL", kQueueFull.detail)
                         : detail_body(kQueueFull);
  http::Response response = make_json(*call, kQueueFull.status, std::move(body), task_id);
  append_retry_after(response.head, retry_after);
  answer(std::move(call), std::move(response));
}

void answer_unavailable(CallPtr call, std::chrono::milliseconds retry_after) {
  http::Response response = make_json(*call, kUnavailable.status, detail_body(kUnavailable));
  append_retry_after(response.head, retry_after);
  answer(std::move(call), std::move(response));
}

void answer_method_not_allowed(CallPtr call) {
  http::Response response =
      make_json(*call, kMethodNotAllowed.status, detail_body(kMethodNotAllowed));
  response.add_header("Allow", call->match.allow);
  answer(std::move(call), std::move(response));
}

void answer_model_not_found(CallPtr call, std::string_view segment) {
  answer_detail(std::move(call), 404, fmt::format("App not found: {}", segment));
}

void answer_invalid(CallPtr call, const std::vector<InputFault>& faults, std::string_view place) {
  std::string body = R"({"detail":[)";
  for (std::size_t i = 0; i < faults.size(); ++i) {
    if (i > 0) body += ',';
    append_fault(body, place, faults[i]);
  }
  body += "]}";
  answer_json(std::move(call), 422, std::move(body));
}

void answer_invalid_parameter(CallPtr call, std::string_view place, std::string_view name,
                              std::string_view msg, std::string_view type) {
  answer_invalid(std::move(call),
                 {InputFault{{json::value(name)}, std::string(msg), std::string(type)}}, place);
}

void answer_body_error(CallPtr call, const Error& error) {
  if (error.code == ErrorCode::unavailable) return answer_unavailable(std::move(call));
  answer_fault(std::move(call), kTooLarge);
}

void answer_look_up_error(CallPtr call, const Error& error) {
  switch (error.code) {
    case ErrorCode::not_found:
      return answer_fault(std::move(call), kTaskNotFound);
    case ErrorCode::unavailable:
      return answer_unavailable(std::move(call), error.retry_after);
    default:
      log_error("look-up failed", {{"trace", call->trace_id}, {"what", error.message}});
      return answer_fault(std::move(call), kInternalError);
  }
}

}  // namespace quern::api
