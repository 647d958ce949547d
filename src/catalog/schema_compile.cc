#include "catalog/schema_compile.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <exception>
#include <unordered_map>
#include <utility>

#include "catalog/json_compare.h"
#include "catalog/schema_defaults.h"
#include "catalog/schema_files.h"

namespace quern::schema {
namespace {

/// Thrown at the first mistake in a schema, caught in `compile`.
struct SchemaMistake {
  std::string what;
};

constexpr std::array<std::pair<std::string_view, Types>, 7> kTypeNames{{
    {"null", kNull},
    {"boolean", kBoolean},
    {"integer", kInteger},
    {"number", kNumber},
    {"string", kString},
    {"array", kArray},
    {"object", kObject},
}};

// Both bound the stack, of compiling and of checking.
constexpr int kDepthMax = 200;
constexpr int kChainMax = 32;

// What 2019-09 and 2020-12 add, but for annotations. Draft 7 would pass over them, and inputs would
// silently go unchecked.
constexpr std::array<std::string_view, 14> kLaterKeywords{
    "prefixItems",      "unevaluatedItems", "unevaluatedProperties", "dependentRequired",
    "dependentSchemas", "minContains",      "maxContains",           "contentSchema",
    "$dynamicRef",      "$dynamicAnchor",   "$recursiveRef",         "$recursiveAnchor",
    "$anchor",          "$vocabulary",
};

// Draft 7 passes over these beside a "$ref", and inputs would go unchecked in the same way.
constexpr std::array<std::string_view, 33> kAssertions{
    "type",
    "enum",
    "const",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "format",
    "items",
    "additionalItems",
    "maxItems",
    "minItems",
    "uniqueItems",
    "contains",
    "maxProperties",
    "minProperties",
    "required",
    "properties",
    "dependencies",
    "patternProperties",
    "propertyNames",
    "additionalProperties",
    "if",
    "then",
    "else",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
};

std::string escape_pointer(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The percent-encoding of a URI's fragment, undone.
std::string decode_percent(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool encoded = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
                         hex_digit(text[i + 2]) >= 0;
    out +=
        encoded ? static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])) : text[i];
    if (encoded) i += 2;
  }
  return out;
}

std::string unescape_pointer(std::string_view token) {
  std::string out;
  for (std::size_t i = 0; i < token.size(); ++i) {
    const bool escaped =
        token[i] == '~' && i + 1 < token.size() && (token[i + 1] == '0' || token[i + 1] == '1');
    out += escaped ? (token[i + 1] == '0' ? '~' : '/') : token[i];
    if (escaped) ++i;
  }
  return out;
}

const json::value* step_into(const json::value& at, std::string_view token) {
  if (const json::object* object = at.if_object()) return object->if_contains(token);
  const json::array* array = at.if_array();
  std::size_t index = 0;
  const auto [end, ec] = std::from_chars(token.data(), token.data() + token.size(), index);
  const bool is_index = ec == std::errc{} && end == token.data() + token.size();
  return array != nullptr && is_index ? array->if_contains(index) : nullptr;
}

class Compiler {
 public:
  explicit Compiler(const json::value& document) : document_(document) {
    const json::object* root = document.if_object();
    const json::value* id = root == nullptr ? nullptr : root->if_contains("$id");
    if (id != nullptr && id->is_string()) document_id_ = std::string_view(id->get_string());
    if (document_id_.ends_with('#')) document_id_.remove_suffix(1);
  }

  NodeTree run() {
    tree_.root = node_at(document_, "");
    for (const std::unique_ptr<Node>& node : tree_.nodes) chain_of(*node);
    refuse_other_root();
    refuse_idle_mark();
    refuse_useless_default();
    return std::move(tree_);
  }

 private:
  struct Keyword {
    const json::value& value;
    std::string place;
  };

  [[noreturn]] static void mistake(std::string_view place, std::string_view what) {
    throw SchemaMistake{fmt::format("at {}: {}", place.empty() ? "the root" : place, what)};
  }

  // Each place of the document becomes one node, however many refer to it: schemas may be
  // recursive.
  const Node* node_at(const json::value& value, const std::string& place) {
    const auto [known, is_new] = by_value_.try_emplace(&value, nullptr);
    if (!is_new) return known->second;
    Node& node = *tree_.nodes.emplace_back(std::make_unique<Node>());
    known->second = &node;
    if (++depth_ > kDepthMax) mistake(place, "too deeply nested");
    if (value.is_bool()) {
      node.is_never = !value.get_bool();
    } else if (const json::object* object = value.if_object()) {
      fill(node, *object, place);
    } else {
      mistake(place, "a schema must be an object or a boolean");
    }
    --depth_;
    return &node;
  }

  void fill(Node& node, const json::object& schema, const std::string& place) {
    for (const std::string_view later : kLaterKeywords) {
      if (schema.contains(later)) {
        mistake(place, fmt::format("\"{}\" is not a keyword of draft 7", later));
      }
    }
    // Annotations count beside a reference too, where many generators put them.
    node.preset = schema.if_contains("default");
    if (const auto keyword = find(schema, place, "x-quern-file")) {
      if (!keyword->value.is_bool()) mistake(keyword->place, "must be true or false");
      node.is_file = keyword->value.get_bool();
    }
    for (const char* name : {"definitions", "$defs"}) {
      if (const auto keyword = find(schema, place, name)) compile_all(*keyword);
    }
    if (&schema != document_.if_object()) refuse_id(schema, place);
    if (const auto keyword = find(schema, place, "$ref")) {
      refuse_assertions(schema, place);
      node.ref = resolve(*keyword);
      return;
    }
    fill_any(node, schema, place);
    fill_number(node, schema, place);
    fill_string(node, schema, place);
    fill_array(node, schema, place);
    fill_object(node, schema, place);
    fill_combinations(node, schema, place);
  }

  void compile_all(const Keyword& definitions) {
    for (const json::key_value_pair& member : object_of(definitions)) {
      node_at(member.value(), definitions.place + "/" + escape_pointer(member.key()));
    }
  }

  static void refuse_id(const json::object& schema, const std::string& place) {
    if (schema.contains("$id")) mistake(place, "\"$id\" is understood at the root only");
  }

  static void refuse_assertions(const json::object& schema, const std::string& place) {
    for (const std::string_view name : kAssertions) {
      if (schema.contains(name)) {
        mistake(place,
                fmt::format("\"{}\" does not count beside \"$ref\" in draft 7: put both, each "
                            "in a schema of its own, into \"allOf\"",
                            name));
      }
    }
  }

  const Node* resolve(const Keyword& keyword) {
    std::string_view target = string_of(keyword);
    if (!document_id_.empty() && target.starts_with(document_id_))
      target.remove_prefix(document_id_.size());
    if (target != "#" && !target.starts_with("#/")) {
      mistake(keyword.place,
              fmt::format("\"{}\" does not refer to a place in this document (\"#/…\")", target));
    }
    const std::string pointer = decode_percent(target.substr(1));
    const json::value* at = &document_;
    for (std::size_t begin = 0; begin < pointer.size();) {
      const std::size_t end = std::min(pointer.find('/', begin + 1), pointer.size());
      at = step_into(
          *at, unescape_pointer(std::string_view(pointer).substr(begin + 1, end - begin - 1)));
      if (at == nullptr) mistake(keyword.place, fmt::format("\"{}\" points to nothing", target));
      begin = end;
    }
    return node_at(*at, pointer);
  }

  // ---- keywords for values of any type

  void fill_any(Node& node, const json::object& schema, const std::string& place) {
    if (const auto keyword = find(schema, place, "type")) node.types = types_of(*keyword);
    if (const auto keyword = find(schema, place, "enum")) {
      const json::array& all = array_of(*keyword);
      if (all.empty()) mistake(keyword->place, "must not be empty");
      node.choices = std::make_unique<Choices>(choices_of(all));
    }
    node.constant = schema.if_contains("const");
  }

  static Choices choices_of(const json::array& all) {
    Choices choices{.all = &all, .texts = {}, .numbers = {}, .others = {}};
    for (const json::value& choice : all) {
      if (choice.is_string()) {
        choices.texts.emplace(choice.get_string());
      } else {
        (choice.is_number() ? choices.numbers : choices.others).push_back(&choice);
      }
    }
    std::ranges::sort(choices.numbers, [](const json::value* a, const json::value* b) {
      return compare_numbers(*a, *b) < 0;
    });
    return choices;
  }

  static Types types_of(const Keyword& keyword) {
    if (keyword.value.is_string()) return type_of(keyword);
    Types types = 0;
    if (!keyword.value.is_array() || keyword.value.get_array().empty()) {
      mistake(keyword.place, "must be the name of a type or a list of them");
    }
    for (const json::value& name : keyword.value.get_array()) {
      types = static_cast<Types>(types | type_of({name, keyword.place}));
    }
    return types;
  }

  static Types type_of(const Keyword& keyword) {
    const std::string_view name = string_of(keyword);
    for (const auto& [known, type] : kTypeNames) {
      if (name == known) return type;
    }
    mistake(keyword.place, fmt::format("\"{}\" is not a type", name));
  }

  void fill_number(Node& node, const json::object& schema, const std::string& place) {
    NumberRules rules;
    bool any = false;
    const auto take = [&](std::string_view name, const json::value*& slot) {
      const auto keyword = find(schema, place, name);
      if (!keyword) return;
      if (!keyword->value.is_number()) mistake(keyword->place, "must be a number");
      slot = &keyword->value;
      any = true;
    };
    take("minimum", rules.minimum);
    take("exclusiveMinimum", rules.exclusive_minimum);
    take("maximum", rules.maximum);
    take("exclusiveMaximum", rules.exclusive_maximum);
    take("multipleOf", rules.multiple_of);
    if (rules.multiple_of != nullptr && rules.multiple_of->to_number<double>() <= 0) {
      mistake(place + "/multipleOf", "must be above 0");
    }
    if (any) node.number = std::make_unique<NumberRules>(rules);
  }

  void fill_string(Node& node, const json::object& schema, const std::string& place) {
    StringRules rules;
    rules.length_min = count(schema, place, "minLength");
    rules.length_max = count(schema, place, "maxLength");
    if (const auto keyword = find(schema, place, "pattern")) {
      rules.pattern = pattern_of(string_of(*keyword), keyword->place);
    }
    if (const auto keyword = find(schema, place, "format"))
      rules.is_uri = string_of(*keyword) == "uri";
    if (rules.length_min || rules.length_max || rules.pattern || rules.is_uri) {
      node.string = std::make_unique<StringRules>(std::move(rules));
    }
  }

  void fill_array(Node& node, const json::object& schema, const std::string& place) {
    ArrayRules rules;
    rules.size_min = count(schema, place, "minItems");
    rules.size_max = count(schema, place, "maxItems");
    if (const auto keyword = find(schema, place, "uniqueItems")) {
      if (!keyword->value.is_bool()) mistake(keyword->place, "must be a boolean");
      rules.is_unique = keyword->value.get_bool();
    }
    rules.contains = child(schema, place, "contains");
    if (const auto keyword = find(schema, place, "items"); keyword && keyword->value.is_array()) {
      rules.first_items = children(*keyword);
      rules.additional = child(schema, place, "additionalItems");
    } else if (keyword) {
      rules.items = node_at(keyword->value, keyword->place);
    }
    if (rules.size_min || rules.size_max || rules.is_unique || rules.contains || rules.items ||
        !rules.first_items.empty()) {
      node.array = std::make_unique<ArrayRules>(std::move(rules));
    }
  }

  void fill_object(Node& node, const json::object& schema, const std::string& place) {
    static constexpr std::array<std::string_view, 8> kKeywords{
        "properties",    "required",      "patternProperties", "additionalProperties",
        "propertyNames", "minProperties", "maxProperties",     "dependencies"};
    if (std::ranges::none_of(kKeywords,
                             [&](std::string_view name) { return schema.contains(name); }))
      return;

    node.object = std::make_unique<ObjectRules>();
    ObjectRules& rules = *node.object;
    if (const auto keyword = find(schema, place, "properties")) fill_properties(rules, *keyword);
    if (const auto keyword = find(schema, place, "required")) fill_required(rules, *keyword);
    if (const auto keyword = find(schema, place, "patternProperties")) {
      for (const json::key_value_pair& member : object_of(*keyword)) {
        const std::string at = keyword->place + "/" + escape_pointer(member.key());
        TextPattern pattern = pattern_of(member.key(), at);
        rules.patterns.push_back({std::move(pattern), node_at(member.value(), at)});
      }
    }
    if (const auto keyword = find(schema, place, "dependencies"))
      fill_dependencies(rules, *keyword);
    rules.additional = child(schema, place, "additionalProperties");
    rules.names = child(schema, place, "propertyNames");
    rules.size_min = count(schema, place, "minProperties");
    rules.size_max = count(schema, place, "maxProperties");
  }

  void fill_properties(ObjectRules& rules, const Keyword& keyword) {
    for (const json::key_value_pair& member : object_of(keyword)) {
      const std::string at = keyword.place + "/" + escape_pointer(member.key());
      rules.properties.push_back({.name = std::string(member.key()),
                                  .node = node_at(member.value(), at),
                                  .is_required = false,
                                  .preset = {}});
    }
    for (const Property& property : rules.properties) rules.declared.insert(property.name);
  }

  static void fill_required(ObjectRules& rules, const Keyword& keyword) {
    for (const std::string& name : names_of(keyword)) {
      const auto declared = std::ranges::find(rules.properties, name, &Property::name);
      if (declared != rules.properties.end()) {
        declared->is_required = true;
      } else {
        rules.required_others.push_back(name);
      }
    }
  }

  void fill_dependencies(ObjectRules& rules, const Keyword& keyword) {
    for (const json::key_value_pair& member : object_of(keyword)) {
      const Keyword entry{member.value(), keyword.place + "/" + escape_pointer(member.key())};
      Dependency dependency{.name = std::string(member.key()), .required = {}, .node = nullptr};
      if (entry.value.is_array()) {
        dependency.required = names_of(entry);
      } else {
        dependency.node = node_at(entry.value, entry.place);
      }
      rules.dependencies.push_back(std::move(dependency));
    }
  }

  void fill_combinations(Node& node, const json::object& schema, const std::string& place) {
    Combinations all;
    const auto take = [&](std::string_view name, std::vector<const Node*>& slot) {
      const auto keyword = find(schema, place, name);
      if (!keyword) return;
      slot = children(*keyword);
      if (slot.empty()) mistake(keyword->place, "must not be empty");
    };
    take("allOf", all.all_of);
    take("anyOf", all.any_of);
    take("oneOf", all.one_of);
    all.none_of = child(schema, place, "not");
    all.condition = child(schema, place, "if");
    all.then = child(schema, place, "then");
    all.otherwise = child(schema, place, "else");
    if (!all.all_of.empty() || !all.any_of.empty() || !all.one_of.empty() || all.none_of ||
        all.condition) {
      node.combinations = std::make_unique<Combinations>(std::move(all));
    }
  }

  // ---- what keywords hold

  static std::optional<Keyword> find(const json::object& schema, const std::string& place,
                                     std::string_view name) {
    const json::value* value = schema.if_contains(name);
    if (value == nullptr) return std::nullopt;
    return Keyword{*value, fmt::format("{}/{}", place, name)};
  }

  const Node* child(const json::object& schema, const std::string& place, std::string_view name) {
    const auto keyword = find(schema, place, name);
    return keyword ? node_at(keyword->value, keyword->place) : nullptr;
  }

  std::vector<const Node*> children(const Keyword& keyword) {
    std::vector<const Node*> nodes;
    for (const json::value& value : array_of(keyword)) {
      nodes.push_back(node_at(value, fmt::format("{}/{}", keyword.place, nodes.size())));
    }
    return nodes;
  }

  static std::optional<std::uint64_t> count(const json::object& schema, const std::string& place,
                                            std::string_view name) {
    const auto keyword = find(schema, place, name);
    if (!keyword) return std::nullopt;
    const bool is_count = keyword->value.is_number() && is_integral(keyword->value) &&
                          keyword->value.to_number<double>() >= 0 &&
                          keyword->value.to_number<double>() < 0x1p63;
    if (!is_count) mistake(keyword->place, "must be a whole number, 0 or more");
    return keyword->value.is_double() ? static_cast<std::uint64_t>(keyword->value.get_double())
                                      : keyword->value.to_number<std::uint64_t>();
  }

  static TextPattern pattern_of(std::string_view text, std::string_view place) {
    Result<TextPattern> pattern = TextPattern::compile(text);
    if (!pattern) mistake(place, pattern.error().message);
    return std::move(*pattern);
  }

  static const json::object& object_of(const Keyword& keyword) {
    if (!keyword.value.is_object()) mistake(keyword.place, "must be an object");
    return keyword.value.get_object();
  }

  static const json::array& array_of(const Keyword& keyword) {
    if (!keyword.value.is_array()) mistake(keyword.place, "must be an array");
    return keyword.value.get_array();
  }

  static std::string_view string_of(const Keyword& keyword) {
    if (!keyword.value.is_string()) mistake(keyword.place, "must be a string");
    return keyword.value.get_string();
  }

  static std::vector<std::string> names_of(const Keyword& keyword) {
    std::vector<std::string> names;
    for (const json::value& name : array_of(keyword))
      names.emplace_back(string_of({name, keyword.place}));
    return names;
  }

  // ---- after all nodes stand

  void refuse_other_root() const {
    for (const Node* at = tree_.root; at != nullptr; at = at->ref) {
      if (at->types != 0 && (at->types & kObject) == 0)
        mistake(place_of(*at), "\"type\" leaves out \"object\", which every input is");
    }
  }

  void refuse_idle_mark() const {
    const Node* idle = find_idle_mark(*tree_.root);
    if (idle == nullptr) return;
    mistake(
        place_of(*idle),
        "\"x-quern-file\" has an effect only in a top-level property or in what one refers to by "
        "\"$ref\", and this is used elsewhere: mark the top-level property");
  }

  void refuse_useless_default() const {
    const Node* useless = find_useless_default(*tree_.root);
    if (useless == nullptr) return;
    mistake(place_of(*useless),
            "the default of an \"x-quern-file\" must be an http or https URL or a data: URI");
  }

  // As a JSON pointer.
  [[nodiscard]] std::string place_of(const Node& node) const {
    const auto found =
        std::ranges::find(by_value_, &node, [](const auto& entry) { return entry.second; });
    std::string place;
    find_place(document_, found->first, place);
    return place;
  }

  static bool find_place(const json::value& at, const json::value* wanted, std::string& place) {
    if (&at == wanted) return true;
    const std::size_t length = place.size();
    const auto is_in = [&](std::string_view token, const json::value& part) {
      place += "/" + escape_pointer(token);
      if (find_place(part, wanted, place)) return true;
      place.resize(length);
      return false;
    };
    if (const json::object* object = at.if_object()) {
      for (const json::key_value_pair& member : *object) {
        if (is_in(member.key(), member.value())) return true;
      }
    } else if (const json::array* array = at.if_array()) {
      for (std::size_t i = 0; i < array->size(); ++i) {
        if (is_in(std::to_string(i), (*array)[i])) return true;
      }
    }
    return false;
  }

  // How many schemas a value meets at most, one inside the other, before a check goes deeper into
  // it. Round in circles there, a check would never end.
  int chain_of(const Node& node) {
    const auto [known, is_new] = chains_.try_emplace(&node, kOpen);
    if (!is_new) {
      if (known->second == kOpen)
        mistake("", "a \"$ref\" leads back to itself without going into the value");
      return known->second;
    }
    int longest = 0;
    for (const Node* next : same_value_parts(node)) longest = std::max(longest, chain_of(*next));
    if (longest >= kChainMax) mistake("", "references and combinations are too deeply nested");
    chains_[&node] = longest + 1;
    return longest + 1;
  }

  const json::value& document_;
  std::string_view document_id_;
  NodeTree tree_;
  std::unordered_map<const json::value*, Node*> by_value_;
  int depth_ = 0;  // of node_at
  static constexpr int kOpen = -1;
  std::unordered_map<const Node*, int>
      chains_;  // of chain_of; kOpen on the way from where it began
};

}  // namespace

Result<NodeTree> compile(const json::value& document) {
  try {
    NodeTree tree = Compiler(document).run();
    if (auto done = complete_defaults(tree); !done) return fail(std::move(done));
    return tree;
  } catch (const SchemaMistake& mistake) {
    return fail(ErrorCode::invalid_argument, mistake.what);
  } catch (const std::exception&) {  // memory
    return fail(ErrorCode::invalid_argument, "the schema is too large");
  }
}

}  // namespace quern::schema
