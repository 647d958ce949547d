#include "api/api.h"

#include <algorithm>

#include "api/call.h"
#include "api/errors.h"
#include "limit/rate_limiter.h"

namespace quern::api {
namespace {

constexpr std::size_t kTraceIdBytesMax = 128;
constexpr std::size_t kTraceIdRandomBytes = 16;

bool is_trace_id(std::string_view text) {
  return !text.empty() && text.size() <= kTraceIdBytesMax && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == ':' || c == '-';
  });
}

std::string choose_trace_id(const RequestHeads& heads, Random& random) {
  return is_trace_id(heads.request_id) ? std::string(heads.request_id)
                                       : random_hex(random, kTraceIdRandomBytes);
}

void answer_preflight(CallPtr call) {
  http::Response response = make_response(*call, 204, "");
  call->context.cors.add_preflight_to(response.head, call->heads);
  answer(std::move(call), std::move(response));
}

// Authentication and rate limit come before anything else on what needs a key.
// True: the caller was let in. False: it was answered.
bool let_in(CallPtr& call) {
  const AuthAnswer auth = call->snapshot->keys->authenticate(call->heads.authorization);
  if (auth.key == nullptr) {
    answer_unauthorized(std::move(call), auth.fault);
    return false;
  }
  call->key = auth.key;
  const RateLimit limit{auth.key->rate, auth.key->burst};
  if (const auto wait = call->context.deps.limiter.take(auth.key->id, limit, call->started)) {
    answer_rate_limited(std::move(call), *wait);
    return false;
  }
  return true;
}

// Unknown to whoever may not see it.
bool is_hidden(const Call& call) { return call.match.access == Access::admin && !call.key->admin; }

void dispatch(CallPtr call) {
  const http::Request& request = call->request();
  call->snapshot = call->context.snapshots.load();
  call->heads = read_heads(request.headers);
  call->query = request.query;
  call->trace_id = choose_trace_id(call->heads, call->context.deps.random);
  const bool valid = call->path.assign(request.path);
  call->match = match_route(request.method, call->path, valid);

  if (request.method == http::Method::options) return answer_preflight(std::move(call));
  if (!call->context.base_urls.can_answer(call->heads))
    return answer_fault(std::move(call), kBadHost);
  if (call->match.access != Access::open && !let_in(call)) return;
  if (call->match.access == Access::admin && is_hidden(*call)) {
    call->match.route = nullptr;
    return answer_fault(std::move(call), kNotFound);
  }
  if (call->match.route != nullptr) return call->match.route->handler(std::move(call));
  if (!call->match.allow.empty()) return answer_method_not_allowed(std::move(call));
  answer_fault(std::move(call), kNotFound);
}

}  // namespace

Result<std::unique_ptr<Api>> Api::make(Options options, Deps deps, Config config) {
  auto urls = BaseUrls::make(options.public_url, options.trusted_proxies);
  if (!urls) return fail(std::move(urls));
  auto context = std::make_unique<Context>(std::move(options), deps, std::move(*urls));
  std::unique_ptr<Api> api(new Api(std::move(context)));
  api->reload(std::move(config));
  return api;
}

Api::Api(std::unique_ptr<Context> context) : context_(std::move(context)) {}

Api::~Api() { stop(); }

void Api::handle(http::Exchange exchange) {
  guard([&] {
    auto call = std::make_unique<Call>(*context_, std::move(exchange));
    call->started = context_->deps.clock.now().steady;
    dispatch(std::move(call));
  });
}

void Api::reload(Config config) {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->keys = config.keys;
  snapshot->catalog = std::move(config.catalog);
  snapshot->endpoints = std::move(config.endpoints);
  context_->snapshots.store(std::move(snapshot));
  context_->live.end_if(
      [&keys = config.keys](const LiveCall& call) { return keys->find(call.key()) == nullptr; });
}

void Api::start_drain() {
  context_->draining.store(true);
  context_->live.end_if([](const LiveCall& call) { return !call.is_stream(); });
}

void Api::end_live() { context_->end_live(); }

void Api::stop() { context_->stop(); }

http::Response Api::protocol_error(const http::Request* request, unsigned status,
                                   std::string_view reason) const {
  const RequestHeads heads = request != nullptr ? read_heads(request->headers) : RequestHeads();
  const std::string trace_id = choose_trace_id(heads, context_->deps.random);
  http::Response response = make_response(*context_, heads, trace_id, status, "application/json");
  response.body = detail_body(reason.empty() ? http::reason_phrase(status) : reason);
  context_->metrics.count(nullptr, status);
  return response;
}

}  // namespace quern::api
