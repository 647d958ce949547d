#include "base/json.h"

#include <fmt/format.h>

#include <array>
#include <boost/json/parser.hpp>
#include <cmath>

#include "base/utf8.h"

namespace quern {
namespace {

// Numbers beyond a double's range come out of the parser as infinities, which JSON cannot say
// again.
bool is_finite(const json::value& value) {
  switch (value.kind()) {
    case json::kind::double_:
      return std::isfinite(value.get_double());
    case json::kind::array:
      for (const json::value& item : value.get_array()) {
        if (!is_finite(item)) return false;
      }
      return true;
    case json::kind::object:
      for (const json::key_value_pair& member : value.get_object()) {
        if (!is_finite(member.value())) return false;
      }
      return true;
    default:
      return true;
  }
}

std::string_view describe(const boost::system::error_code& ec) {
  switch (static_cast<json::error>(ec.value())) {
    case json::error::incomplete:
      return "the text ends too early";
    case json::error::extra_data:
      return "unexpected text after the value";
    case json::error::too_deep:
      return "too deeply nested";
    case json::error::illegal_leading_surrogate:
    case json::error::illegal_trailing_surrogate:
      return "a lone surrogate in a string";
    case json::error::exponent_overflow:
    case json::error::not_exact:
      return "a number out of range";
    case json::error::object_too_large:
    case json::error::array_too_large:
    case json::error::key_too_large:
    case json::error::string_too_large:
      return "too large";
    default:
      return "a syntax error";
  }
}

Result<json::value> parse_strictly(std::string_view text, std::size_t depth_max) {
  json::parse_options options;
  options.max_depth = depth_max;
  std::array<unsigned char, 4096> scratch;  // what small texts are built in, without an allocation
  json::parser parser(json::storage_ptr{}, options, scratch.data(), scratch.size());
  parser.reset();
  boost::system::error_code ec;
  const std::size_t read = parser.write(text.data(), text.size(), ec);
  if (ec) {
    const std::size_t at = find_invalid_utf8(text);
    if (at <= read)
      return fail(ErrorCode::invalid_argument, fmt::format("invalid UTF-8 at byte {}", at));
    return fail(ErrorCode::invalid_argument, fmt::format("{} at byte {}", describe(ec), read));
  }
  json::value value = parser.release();
  if (!is_finite(value)) return fail(ErrorCode::invalid_argument, "a number out of range");
  return value;
}

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

void append_escape(std::string& out, char32_t c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
  }
}

// What a terminal or an editor may act upon: C0 and C1 controls, line separators, changes of
// direction.
bool is_control(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c <= 0x9F) || (c >= 0x2028 && c <= 0x202E) ||
         (c >= 0x2066 && c <= 0x2069);
}

bool is_plain_ascii(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x7F && byte != '"' && byte != '\\';
}

}  // namespace

Result<json::value> parse_json(std::string_view text, std::size_t depth_max) {
  try {
    return parse_strictly(text, depth_max);
  } catch (const std::exception&) {  // memory, or a length beyond what Boost.JSON can hold
    return fail(ErrorCode::invalid_argument, "too large");
  }
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    std::size_t plain = 0;
    while (plain < text.size() && is_plain_ascii(text[plain])) ++plain;
    out += text.substr(0, plain);
    text.remove_prefix(plain);
    if (text.empty()) break;

    const DecodedUtf8 next = decode_utf8(text);
    if (!next.valid) {
      out += kReplacement;
    } else if (is_control(next.code_point) || next.code_point == '"' || next.code_point == '\\') {
      append_escape(out, next.code_point);
    } else {
      out += text.substr(0, next.bytes);
    }
    text.remove_prefix(next.bytes);
  }
  out += '"';
}

}  // namespace quern
