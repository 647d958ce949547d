#pragma once
// What counts as webhook information (docs/API.md, "Webhooks"): refused on creates, wherever it hides.

#include <cstdint>
#include <string_view>

#include "api/request_heads.h"
#include "base/json.h"
#include "catalog/schema.h"

namespace quern::api {

enum class WebhookMember : std::uint8_t {
  none,
  dropped,  // there were some, all of them null or ""
  asks,     // one has a value
};

/// Looks for top-level members of the body that ask for a webhook, but for names that the model's
/// own schema declares. Null and "" count as absent, so members that hold them leave the body: a
/// schema that forbids strange members has nothing to complain of. Names are compared after JSON
/// decoding.
WebhookMember take_webhook_members(json::object& body, const Schema* schema);
/// A parameter of the query with a value.
bool has_webhook_param(std::string_view query);

}  // namespace quern::api
