#include "catalog/schema.h"

#include <algorithm>

#include "catalog/schema_check.h"
#include "catalog/schema_compile.h"
#include "catalog/schema_defaults.h"
#include "catalog/schema_files.h"

namespace quern {

struct Schema::Compiled {
  json::value document;
  schema::NodeTree tree;       // points into `document`
  schema::TopLevel top_level;  // its names sorted
};

Schema::Schema(std::unique_ptr<Compiled> compiled) : compiled_(std::move(compiled)) {}
Schema::~Schema() = default;

Result<std::shared_ptr<const Schema>> Schema::compile(json::object document) {
  auto compiled = std::make_unique<Compiled>();
  compiled->document = std::move(document);
  auto tree = schema::compile(compiled->document);
  if (!tree) return fail(std::move(tree));
  compiled->tree = std::move(*tree);
  compiled->top_level = schema::top_level_of(*compiled->tree.root);
  std::ranges::sort(compiled->top_level.names);
  return std::shared_ptr<const Schema>(new Schema(std::move(compiled)));
}

std::vector<InputFault> Schema::check(const json::object& input) const {
  return schema::check(*compiled_->tree.root, input);
}

Result<void> Schema::fill_defaults(json::object& input) const {
  return schema::fill_defaults(*compiled_->tree.root, input);
}

bool Schema::declares(std::string_view property) const {
  return std::ranges::binary_search(compiled_->top_level.names, property, std::ranges::less{});
}

const std::vector<std::string>& Schema::file_properties() const {
  return compiled_->top_level.files;
}

const json::object& Schema::document() const { return compiled_->document.get_object(); }

}  // namespace quern
