#pragma once
// The top-level properties of a schema, and which of them are files.

#include <string>
#include <vector>

#include "catalog/schema_node.h"

namespace quern::schema {

/// What the root declares, itself or by what it refers to (`$ref`, `allOf`), in the order of the schema.
struct TopLevel {
  std::vector<std::string> names;
  std::vector<std::string> files;  // those marked "x-quern-file", or that refer to what is
};
TopLevel top_level_of(const Node& root);

/// A schema that is marked where nothing is fetched, so that whatever a caller writes there, a path
/// perhaps, would reach the program; null: there is none. Marks that nothing uses do no harm, nor do
/// those inside of a file.
const Node* find_idle_mark(const Node& root);

}  // namespace quern::schema
