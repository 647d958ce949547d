#include "api/webhook_guard.h"

#include <algorithm>
#include <array>

#include "api/query_params.h"

namespace quern::api {
namespace {

constexpr std::array<std::string_view, 9> kMembers = {
    "webhook_url", "webhookUrl", "webhook",     "webhooks",   "callback_url",
    "callbackUrl", "callback",   "fal_webhook", "notify_url",
};
constexpr std::array<std::string_view, 5> kParams = {
    "fal_webhook", "webhook_url", "webhook", "callback_url", "callback",
};

bool is_absent(const json::value& value) {
  return value.is_null() || (value.is_string() && value.get_string().empty());
}

}  // namespace

WebhookMember take_webhook_members(json::object& body, const Schema* schema) {
  const auto is_ours = [&](std::string_view name) {
    return std::ranges::find(kMembers, name) != kMembers.end() &&
           (schema == nullptr || !schema->declares(name));
  };
  auto found = WebhookMember::none;
  for (auto member = body.begin(); member != body.end();) {
    if (!is_ours(member->key())) {
      ++member;
      continue;
    }
    if (!is_absent(member->value())) return WebhookMember::asks;
    member = body.stable_erase(member);
    found = WebhookMember::dropped;
  }
  return found;
}

bool has_webhook_param(std::string_view query) {
  if (query.empty()) return false;
  return std::ranges::any_of(kParams,
                             [&](std::string_view name) { return has_param_value(query, name); });
}

}  // namespace quern::api
