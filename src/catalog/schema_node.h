#pragma once
// A schema in the form that it is checked in. Nodes point to each other and into the document,
// which the owner of both (Schema) keeps alive and in place.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/json.h"
#include "catalog/text_pattern.h"

namespace quern::schema {

struct Node;

/// JSON types as a set of bits. An integer is a number too.
using Types = std::uint8_t;
inline constexpr Types kNull = 1;
inline constexpr Types kBoolean = 2;
inline constexpr Types kInteger = 4;
inline constexpr Types kNumber = 8;
inline constexpr Types kString = 16;
inline constexpr Types kArray = 32;
inline constexpr Types kObject = 64;

/// `enum`, in a form that a text or a number is found in at once, however many there are.
struct Choices {
  const json::array* all = nullptr;
  std::unordered_set<std::string_view> texts;
  std::vector<const json::value*> numbers;  // ascending
  std::vector<const json::value*> others;
};

struct NumberRules {
  const json::value* minimum = nullptr;
  const json::value* exclusive_minimum = nullptr;
  const json::value* maximum = nullptr;
  const json::value* exclusive_maximum = nullptr;
  const json::value* multiple_of = nullptr;
};

struct StringRules {
  std::optional<std::uint64_t> length_min;  // characters
  std::optional<std::uint64_t> length_max;
  std::optional<TextPattern> pattern;
  bool is_uri = false;
};

struct ArrayRules {
  const Node* items = nullptr;           // of every item
  std::vector<const Node*> first_items;  // or one for each of the first
  const Node* additional = nullptr;      // for those after them
  const Node* contains = nullptr;
  std::optional<std::uint64_t> size_min;
  std::optional<std::uint64_t> size_max;
  bool is_unique = false;
};

struct Property {
  std::string name;
  const Node* node = nullptr;
  bool is_required = false;
  std::optional<json::value> preset;  // the default, with the defaults inside it filled in
  std::size_t preset_bytes = 0;       // what adding it takes, see kDefaultsBytesMax
};

struct PatternProperty {
  TextPattern pattern;
  const Node* node = nullptr;
};

/// What must be there too, or fit too, when the object has `name`.
struct Dependency {
  std::string name;
  std::vector<std::string> required;
  const Node* node = nullptr;  // or null
};

struct ObjectRules {
  std::vector<Property> properties;               // in the order of the schema
  std::unordered_set<std::string_view> declared;  // their names, for the look at unknown ones
  std::vector<std::string> required_others;       // required, but not in `properties`
  std::vector<PatternProperty> patterns;
  const Node* additional = nullptr;
  const Node* names = nullptr;
  std::vector<Dependency> dependencies;
  std::optional<std::uint64_t> size_min;
  std::optional<std::uint64_t> size_max;
};

struct Combinations {
  std::vector<const Node*> all_of;
  std::vector<const Node*> any_of;
  std::vector<const Node*> one_of;
  const Node* none_of = nullptr;  // `not`
  const Node* condition = nullptr;
  const Node* then = nullptr;
  const Node* otherwise = nullptr;
};

/// One schema object or boolean. Rules are null where the schema says nothing of that kind of
/// value.
struct Node {
  bool is_never = false;  // the schema `false`
  const Node* ref = nullptr;
  Types types = 0;  // 0: any
  const json::value* constant = nullptr;
  const json::value* preset = nullptr;  // `default`
  bool is_file = false;                 // `x-quern-file`
  std::unique_ptr<Choices> choices;
  std::unique_ptr<NumberRules> number;
  std::unique_ptr<StringRules> string;
  std::unique_ptr<ArrayRules> array;
  std::unique_ptr<ObjectRules> object;
  std::unique_ptr<Combinations> combinations;
};

/// The schemas that a value of this one meets too, on some condition or on none, without going deeper into it.
std::vector<const Node*> same_value_parts(const Node& node);

/// The default, or null. One beside a `$ref` is nearer than that of what it refers to.
const json::value* preset_of(const Node& node);

}  // namespace quern::schema
