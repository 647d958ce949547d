#pragma once
// The top-level properties of a schema, and which of them are files.

#include <string>
#include <vector>

#include "catalog/schema_node.h"

namespace quern::schema {

struct TopLevel {
  /// What the root declares, itself or by what it refers to, on some condition too (`oneOf`, `then`, …).
  std::vector<std::string> names;
  /// Those marked "x-quern-file", or that refer to what is, without condition (by `$ref` and `allOf`), in
  /// the order of the schema.
  std::vector<std::string> files;
};
TopLevel top_level_of(const Node& root);

/// A schema that is marked where nothing is fetched, so that whatever a caller writes there, a path
/// perhaps, would reach the program; null: there is none. Marks that nothing uses do no harm, nor do
/// those inside of a file.
const Node* find_idle_mark(const Node& root);

/// A property that is a file, and whose default holds what no caller could name a file by; null: there is none.
const Node* find_useless_default(const Node& root);

}  // namespace quern::schema
