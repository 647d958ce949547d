#pragma once
// The defaults of a schema: what an input gets that lacks it.

#include "base/json.h"
#include "base/result.h"
#include "catalog/schema_compile.h"

namespace quern::schema {

/// Fills in, once and for all, the defaults that lie inside other defaults, so that filling an
/// input is no more than putting ready values into it. Errors: invalid_argument (defaults without
/// an end).
Result<void> complete_defaults(NodeTree& tree);

/// Adds what the input lacks, in objects at every depth: by `properties`, `items`, `$ref` and
/// `allOf`, where there is no doubt which schema a value is under. Errors: invalid_argument (more
/// than kDefaultsBytesMax would be added; some are added by then).
Result<void> fill_defaults(const Node& node, json::object& input);

}  // namespace quern::schema
