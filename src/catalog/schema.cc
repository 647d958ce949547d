#include "catalog/schema.h"

#include <algorithm>

#include "catalog/schema_check.h"
#include "catalog/schema_compile.h"
#include "catalog/schema_defaults.h"

namespace quern {

struct Schema::Compiled {
  json::value document;
  schema::NodeTree tree;           // points into `document`
  std::vector<std::string> names;  // of the top-level properties, sorted
  std::vector<std::string> files;
};

namespace {

bool is_file(const schema::Node& node) {
  const schema::Node* at = &node;
  while (!at->is_file && at->ref != nullptr) at = at->ref;
  return at->is_file;
}

// The properties that the root declares, itself or by what it refers to.
void collect_properties(const schema::Node& node, std::vector<std::string>& names,
                        std::vector<std::string>& files) {
  if (node.ref != nullptr) return collect_properties(*node.ref, names, files);
  if (node.object) {
    for (const schema::Property& property : node.object->properties) {
      names.push_back(property.name);
      if (is_file(*property.node)) files.push_back(property.name);
    }
  }
  if (node.combinations) {
    for (const schema::Node* each : node.combinations->all_of)
      collect_properties(*each, names, files);
  }
}

}  // namespace

Schema::Schema(std::unique_ptr<Compiled> compiled) : compiled_(std::move(compiled)) {}
Schema::~Schema() = default;

Result<std::shared_ptr<const Schema>> Schema::compile(json::object document) {
  auto compiled = std::make_unique<Compiled>();
  compiled->document = std::move(document);
  auto tree = schema::compile(compiled->document);
  if (!tree) return fail(std::move(tree));
  compiled->tree = std::move(*tree);
  collect_properties(*compiled->tree.root, compiled->names, compiled->files);
  std::ranges::sort(compiled->names);
  return std::shared_ptr<const Schema>(new Schema(std::move(compiled)));
}

std::vector<InputFault> Schema::check(const json::object& input) const {
  return schema::check(*compiled_->tree.root, input);
}

Result<void> Schema::fill_defaults(json::object& input) const {
  return schema::fill_defaults(*compiled_->tree.root, input);
}

bool Schema::declares(std::string_view property) const {
  return std::ranges::binary_search(compiled_->names, property, std::ranges::less{});
}

const std::vector<std::string>& Schema::file_properties() const { return compiled_->files; }

const json::object& Schema::document() const { return compiled_->document.get_object(); }

}  // namespace quern
