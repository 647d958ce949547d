#include "cli/model_input.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

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
  const json::value* type = member(property, "type");
  if (type != nullptr && type->is_string() && type->get_string() == "string")
    return json::value(value);
  Result<json::value> parsed = parse_json(value);
  return parsed ? std::move(*parsed) : json::value(value);
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
