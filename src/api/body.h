#pragma once
// Going on with a call once its body is there.

#include <memory>

#include "api/call.h"
#include "api/errors.h"
#include "base/json.h"

namespace quern::api {

/// Reads the body, then calls then(CallPtr); 413 when it is over `bytes_max`, 503 when there is no memory for it now. A
/// caller that breaks off ends the call.
template <typename Then>
void with_body(CallPtr call, std::uint64_t bytes_max, Then then) {
  http::Exchange exchange = std::move(*call->exchange);
  call->exchange.reset();
  const http::Account account = account_of(*call);
  std::move(exchange).read_body(
      bytes_max,
      [call = std::move(call), then = std::move(then)](http::Exchange back,
                                                       Result<void> read) mutable {
        guard([&] {
          call->exchange.emplace(std::move(back));
          if (!read) return answer_body_error(std::move(call), read.error());
          then(std::move(call));
        });
      },
      account);
}

/// A body that is larger is looked at where looking may take its time.
inline constexpr std::size_t kQuickBodyBytes = 16 * 1024;

/// Calls then(CallPtr) with the body read: now if it is small, else on a thread that may block.
template <typename Then>
void look_at_body(CallPtr call, Then then) {
  if (call->request().body.size() <= kQuickBodyBytes) return then(std::move(call));
  run_blocking(std::move(call), std::move(then));
}

/// The body as a JSON object with its memory from `storage`, white space standing for an empty one;
/// nullopt: the call was answered 422.
std::optional<json::object> parse_object_body(CallPtr& call, json::storage_ptr storage = {});

}  // namespace quern::api
