#include "queue/local/output_json.h"

#include <fmt/format.h>

#include <iterator>

#include "base/json.h"

namespace quern {
namespace {

void append_text(std::string& out, std::string_view name, std::string_view text) {
  out += ",\"";
  out += name;
  out += "\":";
  append_json_string(out, text);
}

void append_number(std::string& out, std::string_view name, std::uint64_t value) {
  fmt::format_to(std::back_inserter(out), ",\"{}\":{}", name, value);
}

void append_output(std::string& out, const Output& output) {
  fmt::format_to(std::back_inserter(out), "{{\"type\":{}", static_cast<unsigned>(output.type));
  if (!output.file_key.empty()) append_text(out, "file_key", output.file_key);
  if (!output.file_name.empty()) append_text(out, "file_name", output.file_name);
  if (!output.content_type.empty()) append_text(out, "content_type", output.content_type);
  if (output.file_bytes != 0) append_number(out, "file_bytes", output.file_bytes);
  if (output.width != 0) append_number(out, "width", output.width);
  if (output.height != 0) append_number(out, "height", output.height);
  if (output.duration != 0) {
    // Shortest form that reads back as the same number; the exponent keeps it a double.
    fmt::format_to(std::back_inserter(out), ",\"duration\":{:.17e}", output.duration);
  }
  if (output.text) append_text(out, "text", *output.text);
  if (!output.metadata_json.empty()) append_text(out, "metadata", output.metadata_json);
  out += '}';
}

// Enough for most: a quarter of a text for its escapes.
std::size_t length_guess(std::span<const Output> outputs) {
  constexpr std::size_t kNamesAndNumbers = 96;
  std::size_t length = 2;
  for (const Output& output : outputs) {
    const std::size_t text = output.text ? output.text->size() : 0;
    length += kNamesAndNumbers + output.file_key.size() + output.file_name.size() +
              output.content_type.size() + text + text / 4 + output.metadata_json.size();
  }
  return length;
}

std::string text_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr || !value->is_string()) return {};
  return std::string(value->get_string());
}

std::uint64_t number_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr) return 0;
  if (value->is_uint64()) return value->get_uint64();
  return value->is_int64() && value->get_int64() > 0
             ? static_cast<std::uint64_t>(value->get_int64())
             : 0;
}

double real_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_double() ? value->get_double() : 0;
}

Output decode_output(const json::object& object) {
  Output output;
  const std::uint64_t type = number_of(object, "type");
  output.type = type <= static_cast<std::uint64_t>(OutputType::file) ? static_cast<OutputType>(type)
                                                                     : OutputType::file;
  output.file_key = text_of(object, "file_key");
  output.file_name = text_of(object, "file_name");
  output.content_type = text_of(object, "content_type");
  output.file_bytes = number_of(object, "file_bytes");
  output.width = static_cast<std::uint32_t>(number_of(object, "width"));
  output.height = static_cast<std::uint32_t>(number_of(object, "height"));
  output.duration = real_of(object, "duration");
  if (object.contains("text")) output.text = text_of(object, "text");
  output.metadata_json = text_of(object, "metadata");
  return output;
}

}  // namespace

std::string encode_outputs(std::span<const Output> outputs) {
  std::string out;
  if (outputs.empty()) return out;
  out.reserve(length_guess(outputs));
  for (const Output& output : outputs) {
    out += out.empty() ? '[' : ',';
    append_output(out, output);
  }
  out += ']';
  return out;
}

Result<std::vector<Output>> decode_outputs(std::string_view text) {
  std::vector<Output> outputs;
  if (text.empty()) return outputs;
  const Result<json::value> parsed = parse_json(text);
  if (!parsed || !parsed->is_array()) {
    return fail(ErrorCode::data_loss, "a stored result is damaged");
  }
  for (const json::value& item : parsed->get_array()) {
    if (!item.is_object()) return fail(ErrorCode::data_loss, "a stored result is damaged");
    outputs.push_back(decode_output(item.get_object()));
  }
  return outputs;
}

std::vector<Output> decode_files(std::string_view text) {
  Result<std::vector<Output>> outputs = decode_outputs(text);
  if (!outputs) return {};
  std::erase_if(*outputs, [](const Output& output) { return output.file_key.empty(); });
  return *std::move(outputs);
}

}  // namespace quern
