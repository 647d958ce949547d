#pragma once
// Models say what they take in JSON Schema draft 7; OpenAPI 3.1 speaks draft 2020-12.

#include <string_view>

#include "base/json.h"

namespace quern::api {

/// The same rules in draft 2020-12, for a schema that Schema::compile took and that will stand at
/// `place` ("#/components/schemas/…"): references lead there, lists of items and dependencies have
/// their new names, and what draft 7 passes over is left out where the later drafts would not.
json::object modern_schema(const json::object& draft7, std::string_view place);

}  // namespace quern::api
