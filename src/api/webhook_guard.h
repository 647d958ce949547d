#pragma once
// What counts as webhook information (protocol.md §2): refused on creates, wherever it hides.

#include <string_view>

#include "api/request_heads.h"
#include "base/json.h"
#include "catalog/schema.h"

namespace quern::api {

/// A top-level member of the body that asks for a webhook, unless the model's own schema declares
/// that name. Names are compared after JSON decoding; null and "" count as absent.
bool has_webhook_member(const json::object& body, const Schema* schema);
/// A parameter of the query with a value.
bool has_webhook_param(std::string_view query);

}  // namespace quern::api
