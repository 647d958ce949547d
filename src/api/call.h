#pragma once
// One request on its way through the API, and how it is answered.

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "api/context.h"
#include "api/request_heads.h"
#include "api/routes.h"
#include "base/log.h"
#include "http/server.h"
#include "queue/queue.h"

namespace quern::api {

enum class Dialect : std::uint8_t { queue, fal };

/// Owned by whoever moves the request along. One that goes without an answer answers 500 and is
/// logged: that is a bug. Threads: one at a time.
struct Call {
  explicit Call(Context& c, http::Exchange e) : context(c), exchange(std::move(e)) {}
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  [[nodiscard]] const http::Request& request() const { return exchange->request(); }
  [[nodiscard]] Dialect dialect() const {
    return match.mount == Mount::fal ? Dialect::fal : Dialect::queue;
  }
  [[nodiscard]] std::string_view param(std::size_t i) const { return match.params[i].text; }

  Context& context;
  std::optional<http::Exchange> exchange;  // empty once answered
  std::shared_ptr<const Snapshot> snapshot;
  const ApiKey* key = nullptr;  // null on open routes
  RequestHeads heads;
  SplitPath path;
  RouteMatch match;
  std::string_view query;  // undecoded
  std::string trace_id;
  std::string rewritten;  // path and query of a proxied call
  SteadyTime started{};

  // What a look-up was asked for (task_calls.cc).
  bool wants_logs = false;
  bool wants_result = false;
  std::chrono::milliseconds wait{0};
};

/// Who has to do with the memory of a large body or answer: its key, or all open routes together.
inline http::Account account_of(const Call& call) {
  return call.key == nullptr ? 0 : std::hash<std::string>()(call.key->id);
}

/// What `{endpoint}` stands for, decoded: "owner/app/path". Nullopt if a segment holds an escaped
/// slash.
std::optional<std::string> endpoint_id(const Call& call);
/// The same as sent, undecoded.
std::string_view endpoint_as_sent(const Call& call);

/// The response head of every answer: content type, ids, CORS.
http::Response make_response(const Call& call, unsigned status, std::string_view content_type,
                             std::string_view task_id = {});
/// The same without a call.
http::Response make_response(const Context& context, const RequestHeads& heads,
                             std::string_view trace_id, unsigned status,
                             std::string_view content_type, std::string_view task_id = {});
http::Response make_json(const Call& call, unsigned status, std::string body,
                         std::string_view task_id = {});

/// Sends the answer and counts it.
void answer(CallPtr call, http::Response response);
void answer_json(CallPtr call, unsigned status, std::string body, std::string_view task_id = {});
/// Sends the head and hands out the rest; the call is counted.
http::StreamWriter answer_stream(CallPtr call, http::Response head);

/// Runs `f`; what it throws is logged and goes no further. A call it owned has then answered 500.
template <typename F>
void guard(F&& f) noexcept {
  try {
    std::forward<F>(f)();
  } catch (const std::exception& e) {
    log_error("a handler threw", {{"what", e.what()}});
  }
}

/// A reply of the queue that goes on with the call, on its I/O thread: then(CallPtr, Result<T>).
template <typename T, typename Then>
Reply<T> reply_to(CallPtr call, Then then) {
  return [call = std::move(call), then = std::move(then)](Result<T> result) mutable {
    http::Exchange& exchange = *call->exchange;
    exchange.post(
        [call = std::move(call), then = std::move(then), result = std::move(result)]() mutable {
          guard([&] { then(std::move(call), std::move(result)); });
        });
  };
}

/// Goes on with the call on a thread that may block; 503 when too much waits there.
void run_blocking(CallPtr call, std::move_only_function<void(CallPtr)> work);

}  // namespace quern::api
