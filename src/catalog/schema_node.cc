#include "catalog/schema_node.h"

namespace quern::schema {

std::vector<const Node*> same_value_parts(const Node& node) {
  std::vector<const Node*> parts{node.ref};
  if (node.object) {
    for (const Dependency& dependency : node.object->dependencies) parts.push_back(dependency.node);
  }
  if (const Combinations* all = node.combinations.get()) {
    for (const auto* list : {&all->all_of, &all->any_of, &all->one_of})
      parts.insert(parts.end(), list->begin(), list->end());
    parts.insert(parts.end(), {all->none_of, all->condition, all->then, all->otherwise});
  }
  std::erase(parts, nullptr);
  return parts;
}

const json::value* preset_of(const Node& node) {
  for (const Node* at = &node; at != nullptr; at = at->ref) {
    if (at->preset != nullptr) return at->preset;
  }
  return nullptr;
}

}  // namespace quern::schema
