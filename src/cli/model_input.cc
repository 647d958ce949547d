#include "cli/model_input.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <set>
#include <sstream>
#include <string_view>

#include "base/percent_encode.h"
#include "cli/exit_code.h"
#include "client/answer_depth.h"

namespace quern {
namespace {

std::unexpected<ClientError> usage(std::string message) {
  return std::unexpected(ClientError{.fault = ClientFault::usage, .message = std::move(message)});
}

ClientResult<json::object> read_object(const std::string& file, const std::stop_token& stop) {
  // Nothing wakes a read from a pipe, and nothing has begun that would have to be ended first.
  const std::stop_callback leave(stop, [] { std::_Exit(static_cast<int>(ExitCode::interrupted)); });
  std::ostringstream text;
  if (file == "-") {
    text << std::cin.rdbuf();
  } else {
    std::ifstream stream(file, std::ios::binary);
    if (!stream) return usage("cannot read " + file);
    text << stream.rdbuf();
  }
  Result<json::value> value = parse_json(text.str());
  if (!value) return usage(file + ": " + value.error().message);
  if (!value->is_object()) return usage(file + ": expected a JSON object");
  return std::move(value->get_object());
}

const json::value* member(const json::value* object, std::string_view name) {
  return object != nullptr && object->is_object() ? object->get_object().if_contains(name)
                                                  : nullptr;
}

// JSON has one kind of numbers; null for what there is none of.
std::string_view kind_of(const json::value& value) {
  if (value.is_string()) return "string";
  if (value.is_number()) return "number";
  if (value.is_bool()) return "boolean";
  if (value.is_array()) return "array";
  return value.is_object() ? "object" : "null";
}

// What values a schema says that it takes; nothing: it does not say.
std::set<std::string_view> kinds_of(const json::value* schema) {
  std::set<std::string_view> kinds;
  const auto add_type = [&](const json::value& type) {
    if (!type.is_string()) return;
    const std::string_view name = type.get_string();
    kinds.insert(name == "integer" ? "number" : name);
  };
  const auto for_each = [](const json::value* list, const auto& act) {
    if (list == nullptr || !list->is_array()) return;
    for (const json::value& item : list->get_array()) act(item);
  };
  if (const json::value* type = member(schema, "type")) add_type(*type);
  for_each(member(schema, "type"), add_type);
  for_each(member(schema, "enum"), [&](const json::value& value) { kinds.insert(kind_of(value)); });
  for (const char* name : {"anyOf", "oneOf"})
    for_each(member(schema, name), [&](const json::value& each) { kinds.merge(kinds_of(&each)); });
  return kinds;
}

bool is_true(const json::value* value) {
  return value != nullptr && value->is_bool() && value->get_bool();
}

// A value that is to be uploaded names a file: always after "@", and for a property that wants one
// if it exists.
bool names_file(std::string_view value, const json::value* property) {
  if (value.starts_with('@')) return !value.starts_with("@@");
  std::error_code ignored;
  return is_true(member(property, "x-quern-file")) &&
         std::filesystem::is_regular_file(value, ignored);
}

}  // namespace

json::value read_value(std::string_view value, const json::value* property) {
  if (value.starts_with("@@")) value.remove_prefix(1);
  Result<json::value> parsed = parse_json(value);
  if (!parsed) return json::value(value);
  const std::set<std::string_view> kinds = kinds_of(property);
  // Text that looks like something else is that only if the property takes it.
  const bool is_text =
      kinds.contains("string") && (parsed->is_string() || !kinds.contains(kind_of(*parsed)));
  return is_text ? json::value(value) : std::move(*parsed);
}

ClientResult<std::string> build_input(Client& client, const std::string& model,
                                      const InputFlags& flags, const std::stop_token& stop) {
  json::object input;
  if (!flags.json_file.empty()) {
    auto object = read_object(flags.json_file, stop);
    if (!object) return std::unexpected(object.error());
    input = std::move(*object);
  }
  if (flags.pairs.empty()) return to_json(input);

  // The schema tells texts from numbers. Without one (or without the model: the create says that
  // better), values are taken as they look.
  const auto entry = client.call("GET", "/v1/models/" + percent_encode_segment(model), {}, stop);
  const bool is_final = !entry && (entry.error().fault == ClientFault::unreachable ||
                                   entry.error().fault == ClientFault::stopped);
  if (is_final) return std::unexpected(entry.error());
  const Result<json::value> parsed = parse_json(entry ? *entry : "{}", kAnswerDepthMax);
  const json::value* properties =
      member(member(parsed ? &*parsed : nullptr, "schema"), "properties");
  for (const std::string& pair : flags.pairs) {
    const std::size_t split = pair.find('=');
    if (split == std::string::npos || split == 0)
      return usage("--input " + pair + ": expected name=value");
    const std::string name = pair.substr(0, split);
    std::string_view value = std::string_view(pair).substr(split + 1);
    const json::value* property = member(properties, name);
    if (!names_file(value, property)) {
      input[name] = read_value(value, property);
      continue;
    }
    if (value.starts_with('@')) value.remove_prefix(1);
    auto url = client.upload(std::string(value), stop);
    if (!url) return std::unexpected(url.error());
    input[name] = *url;
  }
  return to_json(input);
}

}  // namespace quern
