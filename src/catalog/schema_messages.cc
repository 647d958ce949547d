#include "catalog/schema_messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace quern::schema {
namespace {

// As Python would show the value, which is what these messages are known by.
std::string repr(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "None";
    case json::kind::bool_:
      return value.get_bool() ? "True" : "False";
    case json::kind::double_:
      return fmt::format("{}", value.get_double());
    case json::kind::string: {
      const std::string_view text = value.get_string();
      const char quote = text.contains('\'') && !text.contains('"') ? '"' : '\'';
      return fmt::format("{}{}{}", quote, text, quote);
    }
    default:
      return to_json(value);
  }
}

std::string_view plural(std::uint64_t count) { return count == 1 ? "" : "s"; }

bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_scheme(std::string_view text) {
  return !text.empty() && is_alpha(text[0]) && std::ranges::all_of(text, [](char c) {
    return is_alpha(c) || is_digit(c) || c == '+' || c == '-' || c == '.';
  });
}

// Letters beyond ASCII are let pass, as browsers do: they are encoded on the way.
bool is_uri_char(char c) {
  return c > ' ' && c != '\x7F' && c != '"' && c != '<' && c != '>' && c != '\\' && c != '^' &&
         c != '`' && c != '{' && c != '|' && c != '}';
}

}  // namespace

std::span<const TypeFault> type_faults() {
  static constexpr std::array<TypeFault, 7> kFaults{{
      {kString, "string_type", "Input should be a valid string"},
      {kInteger, "int_type", "Input should be a valid integer"},
      {kNumber, "float_type", "Input should be a valid number"},
      {kBoolean, "bool_type", "Input should be a valid boolean"},
      {kArray, "list_type", "Input should be a valid list"},
      {kObject, "dict_type", "Input should be a valid dictionary"},
      {kNull, "none_required", "Input should be None"},
  }};
  return kFaults;
}

std::string one_of_message(const json::array& choices) {
  std::string message = "Input should be ";
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (i > 0) message += i + 1 < choices.size() ? ", " : " or ";
    message += repr(choices[i]);
  }
  return message;
}

std::string limit_message(std::string_view relation, const json::value& limit) {
  return fmt::format("Input should be {} {}", relation, repr(limit));
}

std::string length_message(std::string_view least_or_most, std::uint64_t limit) {
  return fmt::format("String should have at {} {} character{}", least_or_most, limit,
                     plural(limit));
}

std::string size_message(std::string_view what, std::string_view least_or_most, std::uint64_t limit,
                         std::size_t size) {
  return fmt::format("{} should have at {} {} item{} after validation, not {}", what, least_or_most,
                     limit, plural(limit), size);
}

std::string_view uri_fault(std::string_view text) {
  if (text.empty()) return "input is empty";
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos || !is_scheme(text.substr(0, colon)))
    return "relative URL without a base";
  const std::string_view rest = text.substr(colon + 1);
  if (!std::ranges::all_of(
          rest, [](char c) { return static_cast<signed char>(c) < 0 || is_uri_char(c); })) {
    return "invalid character";
  }
  const bool needs_host = text.starts_with("http:") || text.starts_with("https:");
  if (needs_host &&
      (!rest.starts_with("//") || rest.size() == 2 || rest.find_first_of("/?#", 2) == 2)) {
    return "empty host";
  }
  return {};
}

}  // namespace quern::schema
