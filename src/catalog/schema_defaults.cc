#include "catalog/schema_defaults.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>

#include "base/units.h"
#include "catalog/schema.h"

namespace quern::schema {
namespace {

constexpr int kPresetDepthMax = 16;  // defaults inside defaults
constexpr std::size_t kPresetGrowthMax =
    1'000;  // values that completion may add to all defaults of a schema
constexpr std::size_t kValueBytes = 32;  // of a member, beside its name and text

Types types_of(const json::value& value) {
  switch (value.kind()) {
    case json::kind::object:
      return kObject;
    case json::kind::array:
      return kArray;
    default:
      return 0;  // what has nothing inside that could get a default
  }
}

/// For kObject and kArray.
bool may_be(const Node& branch, Types type) {
  const Node* node = &branch;
  while (node->ref != nullptr) node = node->ref;
  if (node->is_never) return false;
  if (node->types != 0) return (node->types & type) != 0;
  if (node->constant != nullptr) return types_of(*node->constant) == type;
  if (node->choices == nullptr) return true;
  return std::ranges::any_of(node->choices->others,
                             [&](const json::value* choice) { return types_of(*choice) == type; });
}

/// The alternative that a value of this type must be meant for; null: there is none, or a choice.
const Node* only_branch(std::span<const Node* const> branches, Types type) {
  const Node* only = nullptr;
  for (const Node* branch : branches) {
    if (!may_be(*branch, type)) continue;
    if (only != nullptr) return nullptr;
    only = branch;
  }
  return only;
}

/// Goes through one value, and puts defaults where something is missing. Each step returns false
/// once they would take more than their limit.
class Filling {
 public:
  bool fill_object(const Node& node, json::object& object) {
    if (node.ref != nullptr) return fill_object(*node.ref, object);
    if (node.object) {
      for (const Property& property : node.object->properties) {
        if (json::value* present = object.if_contains(property.name)) {
          if (!fill_value(*property.node, *present)) return false;
        } else if (property.preset) {
          if (property.preset_bytes > room_) return false;
          room_ -= property.preset_bytes;
          object.emplace(property.name, *property.preset);
        }
      }
    }
    return for_each_part(node, kObject,
                         [&](const Node& part) { return fill_object(part, object); });
  }

  bool fill_array(const Node& node, json::array& array) {
    if (node.ref != nullptr) return fill_array(*node.ref, array);
    if (node.array) {
      for (std::size_t i = 0; i < array.size(); ++i) {
        const ArrayRules& rules = *node.array;
        const Node* item = i < rules.first_items.size() ? rules.first_items[i] : rules.additional;
        if (rules.items != nullptr) item = rules.items;
        if (item != nullptr && !fill_value(*item, array[i])) return false;
      }
    }
    return for_each_part(node, kArray, [&](const Node& part) { return fill_array(part, array); });
  }

  bool fill_value(const Node& node, json::value& value) {
    if (json::object* object = value.if_object()) return fill_object(node, *object);
    if (json::array* array = value.if_array()) return fill_array(node, *array);
    return true;
  }

 private:
  /// The schemas that say something of the same value.
  static bool for_each_part(const Node& node, Types type, auto fill) {
    if (!node.combinations) return true;
    const Combinations& all = *node.combinations;
    for (const Node* part : all.all_of) {
      if (!fill(*part)) return false;
    }
    for (const auto* branches : {&all.any_of, &all.one_of}) {
      const Node* only = only_branch(*branches, type);
      if (only != nullptr && !fill(*only)) return false;
    }
    return true;
  }

  std::size_t room_ = kDefaultsBytesMax;
};

std::size_t count_values(const json::value& value) {
  std::size_t count = 1;
  if (const json::object* object = value.if_object()) {
    for (const json::key_value_pair& member : *object) count += count_values(member.value());
  } else if (const json::array* array = value.if_array()) {
    for (const json::value& item : *array) count += count_values(item);
  }
  return count;
}

std::size_t count_bytes(const json::value& value) {
  std::size_t bytes = kValueBytes;
  if (const json::object* object = value.if_object()) {
    for (const json::key_value_pair& member : *object) {
      bytes += member.key().size() + count_bytes(member.value());
    }
  } else if (const json::array* array = value.if_array()) {
    for (const json::value& item : *array) bytes += count_bytes(item);
  } else if (const json::string* text = value.if_string()) {
    bytes += text->size();
  }
  return bytes;
}

void set_preset(Property& property, json::value preset) {
  property.preset_bytes = property.name.size() + count_bytes(preset);
  property.preset = std::move(preset);
}

std::vector<Property*> properties_with_default(NodeTree& tree) {
  std::vector<Property*> found;
  for (const std::unique_ptr<Node>& node : tree.nodes) {
    if (!node->object) continue;
    for (Property& property : node->object->properties) {
      if (preset_of(*property.node) != nullptr) found.push_back(&property);
    }
  }
  return found;
}

std::unexpected<Error> fail_of_size(std::string_view place) {
  return fail(ErrorCode::invalid_argument,
              fmt::format("the schema's defaults would add more than {} to {}",
                          format_bytes(kDefaultsBytesMax), place));
}

}  // namespace

// Each round looks one level deeper into the defaults; when a round changes nothing, all are
// complete.
Result<void> complete_defaults(NodeTree& tree) {
  const std::vector<Property*> properties = properties_with_default(tree);
  std::size_t values_max = kPresetGrowthMax;
  for (Property* property : properties) {
    set_preset(*property, *preset_of(*property->node));
    values_max += count_values(*property->preset);
  }
  for (int round = 0; round < kPresetDepthMax; ++round) {
    bool changed = false;
    std::size_t values = 0;
    for (Property* property : properties) {
      json::value filled = *property->preset;
      if (!Filling().fill_value(*property->node, filled)) return fail_of_size("one of them");
      changed = changed || filled != *property->preset;
      set_preset(*property, std::move(filled));
      values += count_values(*property->preset);
      if (values > values_max) break;
    }
    if (!changed) return {};
    if (values > values_max) break;
  }
  return fail(ErrorCode::invalid_argument,
              "the defaults of the schema contain each other without an end");
}

Result<void> fill_defaults(const Node& node, json::object& input) {
  if (!Filling().fill_object(node, input)) return fail_of_size("this input");
  return {};
}

}  // namespace quern::schema
