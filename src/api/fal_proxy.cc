// /fal/proxy: fal's clients may be told to send every call to one address, with the address meant
// in a header. What is meant for fal's queue or storage is served from here; no other host is ever
// contacted, and none by the network.

#include <array>

#include "api/errors.h"
#include "api/handlers.h"

namespace quern::api {
namespace {

constexpr std::string_view kQueueOrigin = "https://queue.fal.run/";
// The second is what older JavaScript clients, Swift and Dart use.
constexpr std::array<std::string_view, 2> kStorageOrigins = {"https://rest.fal.ai/storage/",
                                                             "https://rest.alpha.fal.ai/storage/"};

// "/fal/…" with its query, for an address that is served from here; else empty.
std::string local_target(std::string_view url) {
  url = url.substr(0, url.find('#'));
  if (url.starts_with(kQueueOrigin)) return "/fal/" + std::string(url.substr(kQueueOrigin.size()));
  for (const std::string_view origin : kStorageOrigins) {
    if (url.starts_with(origin)) return "/fal/storage/" + std::string(url.substr(origin.size()));
  }
  return {};
}

}  // namespace

void serve_proxied(CallPtr call) {
  call->rewritten = local_target(call->heads.fal_target_url);
  if (call->rewritten.empty()) return answer_fault(std::move(call), kProxyTarget);
  const std::string_view target = call->rewritten;
  const std::string_view path = target.substr(0, target.find('?'));
  call->query = target.substr(std::min(path.size() + 1, target.size()));

  const bool valid = call->path.assign(path);
  RouteMatch match = match_route(call->request().method, call->path, valid);
  if (match.route != nullptr && match.route->handler == serve_proxied)
    return answer_fault(std::move(call), kProxyTarget);
  call->match = std::move(match);
  if (call->match.route != nullptr) return call->match.route->handler(std::move(call));
  if (!call->match.allow.empty()) return answer_method_not_allowed(std::move(call));
  answer_fault(std::move(call), kNotFound);
}

}  // namespace quern::api
