#include "catalog/schema_files.h"

#include <algorithm>
#include <functional>
#include <string_view>
#include <unordered_set>

#include "base/ascii.h"

namespace quern::schema {
namespace {

bool is_file(const Node& node) {
  const Node* at = &node;
  while (!at->is_file && at->ref != nullptr) at = at->ref;
  return at->is_file;
}

bool has_scheme(std::string_view url, std::string_view scheme) {
  return url.size() > scheme.size() && url[scheme.size()] == ':' &&
         equals_ignoring_case(url.substr(0, scheme.size()), scheme);
}

// Each text in it, at any depth, is an address that a file is fetched from.
bool names_files(const json::value& value) {
  if (const json::string* text = value.if_string())
    return has_scheme(*text, "http") || has_scheme(*text, "https") || has_scheme(*text, "data");
  if (const json::array* array = value.if_array()) return std::ranges::all_of(*array, names_files);
  if (const json::object* object = value.if_object()) {
    return std::ranges::all_of(
        *object, [](const json::key_value_pair& member) { return names_files(member.value()); });
  }
  return true;
}

// The root, and what it takes its properties from.
void for_each_root(const Node& node, const std::function<void(const Node&)>& each) {
  each(node);
  if (node.ref != nullptr) return for_each_root(*node.ref, each);
  if (!node.combinations) return;
  for (const Node* part : node.combinations->all_of) for_each_root(*part, each);
}

using Nodes = std::vector<const Node*>;

void append(Nodes& nodes, const Nodes& more) {
  nodes.insert(nodes.end(), more.begin(), more.end());
}

Nodes properties_of(const Node& node) {
  Nodes nodes;
  if (!node.object) return nodes;
  for (const Property& property : node.object->properties) nodes.push_back(property.node);
  return nodes;
}

// Without those of properties_of() and `allOf`. Some are null.
Nodes other_parts_of(const Node& node) {
  Nodes nodes;
  if (const ArrayRules* rules = node.array.get()) {
    append(nodes, {rules->items, rules->additional, rules->contains});
    append(nodes, rules->first_items);
  }
  if (const ObjectRules* rules = node.object.get()) {
    append(nodes, {rules->additional, rules->names});
    for (const PatternProperty& pattern : rules->patterns) nodes.push_back(pattern.node);
    for (const Dependency& dependency : rules->dependencies) nodes.push_back(dependency.node);
  }
  if (const Combinations* all = node.combinations.get()) {
    append(nodes, all->any_of);
    append(nodes, all->one_of);
    append(nodes, {all->none_of, all->condition, all->then, all->otherwise});
  }
  return nodes;
}

// All schemas that it is made of. Some are null.
Nodes parts_of(const Node& node) {
  Nodes nodes = other_parts_of(node);
  nodes.push_back(node.ref);
  append(nodes, properties_of(node));
  if (node.combinations) append(nodes, node.combinations->all_of);
  return nodes;
}

}  // namespace

TopLevel top_level_of(const Node& root) {
  TopLevel found;
  for_each_root(root, [&](const Node& node) {
    if (!node.object) return;
    for (const Property& property : node.object->properties) {
      if (is_file(*property.node)) found.files.push_back(property.name);
    }
  });
  Nodes open{&root};
  std::unordered_set<const Node*> seen;
  while (!open.empty()) {
    const Node* node = open.back();
    open.pop_back();
    if (!seen.insert(node).second) continue;
    if (node->object) {
      for (const Property& property : node->object->properties)
        found.names.push_back(property.name);
    }
    append(open, same_value_parts(*node));
  }
  return found;
}

const Node* find_idle_mark(const Node& root) {
  Nodes open;
  const Node* idle = nullptr;
  for_each_root(root, [&](const Node& node) {
    if (node.is_file) idle = &node;
    append(open, other_parts_of(node));
    for (const Node* property : properties_of(node)) {
      if (!is_file(*property)) open.push_back(property);
    }
  });
  std::unordered_set<const Node*> seen;
  while (idle == nullptr && !open.empty()) {
    const Node* node = open.back();
    open.pop_back();
    if (node == nullptr || !seen.insert(node).second) continue;
    if (node->is_file) idle = node;
    append(open, parts_of(*node));
  }
  return idle;
}

const Node* find_useless_default(const Node& root) {
  const Node* found = nullptr;
  for_each_root(root, [&](const Node& node) {
    for (const Node* property : properties_of(node)) {
      const json::value* const preset = is_file(*property) ? preset_of(*property) : nullptr;
      if (preset != nullptr && !names_files(*preset)) found = property;
    }
  });
  return found;
}

}  // namespace quern::schema
