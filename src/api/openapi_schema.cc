#include "api/openapi_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>
#include <vector>

#include "base/assert.h"
#include "base/percent_encode.h"
#include "http/message.h"

namespace quern::api {
namespace {

constexpr std::array<std::string_view, 9> kWithSchema = {
    "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else",
    "items",    "additionalItems",
};
constexpr std::array<std::string_view, 4> kWithList = {"items", "allOf", "anyOf", "oneOf"};
constexpr std::array<std::string_view, 5> kWithMap = {"definitions", "$defs", "properties",
                                                      "patternProperties", "dependencies"};
// What says nothing about values, and so counts beside a reference too. The definitions are there
// for references to lead to.
constexpr std::array<std::string_view, 8> kBesideRef = {
    "title",    "description",  "default",     "examples",
    "$comment", "x-quern-file", "definitions", "$defs"};
// Draft 7 knows none of them and passes over them; here they would begin to mean something, or
// (`$id`, `$schema`) mean something else in another document.
constexpr std::array<std::string_view, 6> kLeftOut = {
    "$schema", "$id", "id", "discriminator", "xml", "externalDocs",
};

bool holds(const auto& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

std::string unescape(std::string_view token) {
  std::string out;
  for (std::size_t i = 0; i < token.size(); ++i) {
    const bool escaped = token[i] == '~' && i + 1 < token.size();
    out += escaped ? (token[i + 1] == '0' ? '~' : '/') : token[i];
    if (escaped) ++i;
  }
  return out;
}

std::string escape(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == '~')
      out += "~0";
    else if (c == '/')
      out += "~1";
    else
      out += c;
  }
  return out;
}

// A name as one step of a pointer in a URI; `$defs` stays readable.
std::string fragment_of(std::string_view name) {
  const bool is_keyword = name.starts_with('$');
  return (is_keyword ? "$" : "") + percent_encode(escape(name.substr(is_keyword ? 1 : 0)));
}

// What the value under a keyword, or under a member of one, is.
enum class Kind : std::uint8_t { schema, list, map, data };

Kind kind_under(std::string_view keyword, const json::value& value) {
  if (value.is_array() && holds(kWithList, keyword)) return Kind::list;
  if (value.is_object() && holds(kWithMap, keyword)) return Kind::map;
  return holds(kWithSchema, keyword) ? Kind::schema : Kind::data;
}

// The keyword's name in draft 2020-12. A schema has either kind of `items`, never both.
std::string_view modern_name(std::string_view keyword, const json::value& value) {
  if (keyword == "items" && value.is_array()) return "prefixItems";
  return keyword == "additionalItems" ? "items" : keyword;
}

class Translator {
 public:
  Translator(const json::object& document, std::string_view place)
      : document_(document), place_(place) {
    const json::value* id = document.if_contains("$id");
    if (id != nullptr && id->is_string()) id_ = id->get_string();
    if (id_.ends_with('#')) id_.pop_back();
  }

  json::object run() {
    json::object out = object(document_);
    // Translating one of them may find more.
    for (std::size_t i = 0; i < elsewhere_.size(); ++i) {
      json::value moved = schema(*elsewhere_[i]);
      json::value& defs = out["$defs"];
      if (!defs.is_object()) defs.emplace_object();
      defs.get_object()[elsewhere_name(i)] = std::move(moved);
    }
    return out;
  }

 private:
  json::value schema(const json::value& value) {
    return value.is_object() ? json::value(object(value.get_object())) : value;
  }

  json::object object(const json::object& from) {
    json::object out;
    const json::value* ref = from.if_contains("$ref");
    if (ref != nullptr) out["$ref"] = reference(ref->get_string());
    for (const auto& member : from) {
      const std::string_view keyword = member.key();
      if (ref != nullptr && !holds(kBesideRef, keyword)) continue;
      if (!holds(kLeftOut, keyword)) add(out, from, keyword, member.value());
    }
    return out;
  }

  void add(json::object& out, const json::object& from, std::string_view keyword,
           const json::value& value) {
    if (keyword == "dependencies") return add_dependencies(out, value.get_object());
    if (keyword == "additionalItems" && !has_item_list(from)) return;  // means nothing
    out[modern_name(keyword, value)] = translated(kind_under(keyword, value), value);
  }

  static bool has_item_list(const json::object& from) {
    const json::value* items = from.if_contains("items");
    return items != nullptr && items->is_array();
  }

  void add_dependencies(json::object& out, const json::object& from) {
    for (const auto& [name, value] : from) {
      const std::string_view keyword = value.is_array() ? "dependentRequired" : "dependentSchemas";
      json::value& to = out[keyword];
      if (!to.is_object()) to.emplace_object();
      to.get_object()[name] = value.is_array() ? value : schema(value);
    }
  }

  json::value translated(Kind kind, const json::value& value) {
    switch (kind) {
      case Kind::schema:
        return schema(value);
      case Kind::list: {
        json::array list;
        for (const json::value& item : value.get_array()) list.emplace_back(schema(item));
        return list;
      }
      case Kind::map: {
        json::object map;
        for (const auto& [name, item] : value.get_object()) map[name] = schema(item);
        return map;
      }
      case Kind::data:
        return value;
    }
    return value;
  }

  // "#/definitions/a" means a place in the model's own document.
  std::string reference(std::string_view target) {
    if (!id_.empty() && target.starts_with(id_)) target.remove_prefix(id_.size());
    target.remove_prefix(1);  // the '#'
    const auto decoded = http::percent_decode(target);
    const std::string_view pointer = decoded ? std::string_view(*decoded) : target;
    const json::value* at = nullptr;
    const auto path = modern_path(pointer, at);
    return place_ + (path ? *path : "/$defs/" + elsewhere_name(index_of(at)));
  }

  // Where the target stands after the translation, as the fragment of a URI; nullopt if it is under
  // no keyword, where nothing is translated. `at`: the target, if it is not the root.
  std::optional<std::string> modern_path(std::string_view pointer, const json::value*& at) const {
    std::string path;
    bool is_translated = true;
    Kind kind = Kind::schema;
    const json::object* object = &document_;
    while (!pointer.empty()) {
      pointer.remove_prefix(1);  // the slash
      const std::string_view token = pointer.substr(0, pointer.find('/'));
      pointer.remove_prefix(token.size());
      const std::string name = unescape(token);
      const json::value& value = object != nullptr ? object->at(name) : item_of(*at, name);
      std::string_view keyword = name;
      if (kind == Kind::schema) {
        const bool is_alone = object != nullptr && object->contains("$ref");
        keyword = modern_name(name, value);
        if (name == "dependencies") keyword = "dependentSchemas";
        kind = kind_under(name, value);
        if (is_alone && !holds(kBesideRef, name)) kind = Kind::data;
        if (name == "additionalItems" && !has_item_list(*object)) kind = Kind::data;
        if (kind == Kind::data) is_translated = false;
      } else if (kind != Kind::data) {
        kind = Kind::schema;
      }
      path += '/' + fragment_of(keyword);
      at = &value;
      object = value.if_object();
    }
    if (!is_translated || kind != Kind::schema) return std::nullopt;
    return path;
  }

  static const json::value& item_of(const json::value& list, std::string_view index) {
    std::size_t i = 0;
    std::from_chars(index.data(), index.data() + index.size(), i);
    return list.at(i);
  }

  std::size_t index_of(const json::value* target) {
    const auto known = std::ranges::find(elsewhere_, target);
    if (known == elsewhere_.end()) elsewhere_.push_back(target);
    return static_cast<std::size_t>(std::ranges::find(elsewhere_, target) - elsewhere_.begin());
  }

  // Free in this document: names that only start so are somebody else's.
  [[nodiscard]] std::string elsewhere_name(std::size_t index) const {
    std::string name = fmt::format("elsewhere_{}", index);
    const json::value* defs = document_.if_contains("$defs");
    while (defs != nullptr && defs->is_object() && defs->get_object().contains(name)) name += '_';
    return name;
  }

  const json::object& document_;
  const std::string place_;
  std::string id_;
  std::vector<const json::value*> elsewhere_;  // targets of references under no keyword
};

}  // namespace

json::object modern_schema(const json::object& draft7, std::string_view place) {
  return Translator(draft7, place).run();
}

}  // namespace quern::api
