#pragma once
// Checks an input against the nodes of a schema and names its faults.

#include <vector>

#include "base/json.h"
#include "catalog/schema.h"
#include "catalog/schema_node.h"

namespace quern::schema {

/// Every fault of `input`, at most kInputFaultsMax.
std::vector<InputFault> check(const Node& root, const json::object& input);

}  // namespace quern::schema
