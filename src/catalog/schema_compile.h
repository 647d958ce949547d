#pragma once
// From a schema document to nodes.

#include <memory>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "catalog/schema_node.h"

namespace quern::schema {

struct NodeTree {
  std::vector<std::unique_ptr<Node>> nodes;
  const Node* root = nullptr;
};

/// The nodes point into `document`, which must outlive them unmoved.
/// Errors: invalid_argument, with the place as a JSON pointer.
Result<NodeTree> compile(const json::value& document);

}  // namespace quern::schema
