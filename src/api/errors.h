#pragma once
// Every error answer of the API, with its code and its bytes (docs/API.md, "Errors").

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "api/call.h"
#include "auth/api_key.h"
#include "base/result.h"
#include "catalog/schema.h"

namespace quern::api {

/// A code with its `detail`.
struct Fault {
  unsigned status;
  std::string_view detail;
};

inline constexpr Fault kNotFound{404, "Not Found"};
inline constexpr Fault kTaskNotFound{404, "Request not found"};
inline constexpr Fault kMethodNotAllowed{405, "Method Not Allowed"};
inline constexpr Fault kModelNotAllowed{403, "Model not allowed for this user"};
inline constexpr Fault kWebhook{400, "webhook not supported"};
inline constexpr Fault kStreamUnsupported{400, "SSE streaming not supported"};
inline constexpr Fault kBadHost{400, "Invalid Host header"};
inline constexpr Fault kProxyTarget{
    400, "only https://queue.fal.run/ and https://rest.fal.ai/storage/ are served here"};
inline constexpr Fault kInProgress{400, "Request is still in progress"};
inline constexpr Fault kTooLarge{413, "Request body too large"};
inline constexpr Fault kKeyReused{422, "Idempotency-Key reused with a different request"};
inline constexpr Fault kQueueFull{429, "Queue is full"};
inline constexpr Fault kInternalError{500, "Internal Server Error"};
inline constexpr Fault kNotStored{502, "Runtime execution failed"};
inline constexpr Fault kUnavailable{503, "Service unavailable"};

/// {"detail":"…"}
std::string detail_body(std::string_view detail);
inline std::string detail_body(const Fault& fault) { return detail_body(fault.detail); }

void answer_fault(CallPtr call, const Fault& fault);
void answer_detail(CallPtr call, unsigned status, std::string_view detail);
void answer_unauthorized(CallPtr call, AuthFault fault);
void answer_rate_limited(CallPtr call, std::chrono::milliseconds retry_after);
/// `task_id`: of the task that was found and has no room, if there is one.
void answer_queue_full(CallPtr call, std::chrono::milliseconds retry_after,
                       std::string_view task_id = {});
/// 503 with Retry-After.
void answer_unavailable(CallPtr call, std::chrono::milliseconds retry_after = {});
void answer_method_not_allowed(CallPtr call);
/// `segment`: as sent, undecoded.
void answer_model_not_found(CallPtr call, std::string_view segment);
/// 422 with every fault; `place` is the first entry of each loc ("body", "header", "query").
void answer_invalid(CallPtr call, const std::vector<InputFault>& faults,
                    std::string_view place = "body");
/// 422 for one header or query parameter.
void answer_invalid_parameter(CallPtr call, std::string_view place, std::string_view name,
                              std::string_view msg, std::string_view type);
/// Why a body could not be read: 413 or 503.
void answer_body_error(CallPtr call, const Error& error);
/// What the queue says on a look-up: 404, else 503 or 500.
void answer_look_up_error(CallPtr call, const Error& error);

/// "Retry-After: N\r\n" in whole seconds, at least 1.
void append_retry_after(std::string& head, std::chrono::milliseconds wait);

}  // namespace quern::api
