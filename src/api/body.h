#pragma once
// Going on with a call once its body is there.

#include <memory>

#include "api/call.h"
#include "api/errors.h"
#include "base/json.h"

namespace quern::api {

/// Reads the body, then calls then(CallPtr); 413 when it is over `bytes_max`. A caller that breaks
/// off ends the call.
template <typename Then>
void with_body(CallPtr call, std::uint64_t bytes_max, Then then) {
  http::Exchange exchange = std::move(*call->exchange);
  call->exchange.reset();
  std::move(exchange).read_body(bytes_max, [call = std::move(call), then = std::move(then)](
                                               http::Exchange back, Result<void> read) mutable {
    guard([&] {
      call->exchange.emplace(std::move(back));
      if (!read) return answer_fault(std::move(call), kTooLarge);
      then(std::move(call));
    });
  });
}

/// The body as a JSON object with its memory from `storage`, white space standing for an empty one;
/// nullopt: the call was answered 422.
std::optional<json::object> parse_object_body(CallPtr& call, json::storage_ptr storage = {});

}  // namespace quern::api
