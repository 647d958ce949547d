#include "base/json.h"

#include <fmt/format.h>

#include <array>
#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/value_stack.hpp>
#include <charconv>
#include <cmath>
#include <utility>

#include "base/char_run.h"
#include "base/utf8.h"

namespace quern {
namespace {

// Builds the value from what the parser finds, as Boost.JSON's own handler does, except for doubles: 1.81 reads
// them with an error in the last place, and makes infinities of those that are too large.
class ValueBuilder {
 public:
  static constexpr std::size_t max_object_size = json::object::max_size();
  static constexpr std::size_t max_array_size = json::array::max_size();
  static constexpr std::size_t max_key_size = json::string::max_size();
  static constexpr std::size_t max_string_size = json::string::max_size();

  using Code = boost::system::error_code;

  ValueBuilder(json::storage_ptr storage, unsigned char* scratch, std::size_t size)
      : stack_({}, scratch, size) {
    stack_.reset(std::move(storage));
  }
  json::value release() { return stack_.release(); }

  bool on_document_begin(Code&) { return true; }
  bool on_document_end(Code&) { return true; }
  bool on_object_begin(Code&) { return true; }
  bool on_array_begin(Code&) { return true; }
  bool on_object_end(std::size_t size, Code&) { return stack_.push_object(size), true; }
  bool on_array_end(std::size_t size, Code&) { return stack_.push_array(size), true; }
  bool on_key_part(json::string_view text, std::size_t, Code&) {
    return stack_.push_chars(text), true;
  }
  bool on_key(json::string_view text, std::size_t, Code&) { return stack_.push_key(text), true; }
  bool on_string_part(json::string_view text, std::size_t, Code&) {
    return stack_.push_chars(text), true;
  }
  bool on_string(json::string_view text, std::size_t, Code&) {
    return stack_.push_string(text), true;
  }
  bool on_number_part(json::string_view, Code&) { return true; }
  bool on_int64(std::int64_t value, json::string_view, Code&) {
    return stack_.push_int64(value), true;
  }
  bool on_uint64(std::uint64_t value, json::string_view, Code&) {
    return stack_.push_uint64(value), true;
  }
  bool on_bool(bool value, Code&) { return stack_.push_bool(value), true; }
  bool on_null(Code&) { return stack_.push_null(), true; }
  bool on_comment_part(json::string_view, Code&) { return true; }
  bool on_comment(json::string_view, Code&) { return true; }

  bool on_double(double rough, json::string_view text, Code& ec) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{}) value = rough;  // out of range: 0 if it is too small
    if (!std::isfinite(value)) {
      ec = json::error::exponent_overflow;
      return false;
    }
    return stack_.push_double(value), true;
  }

 private:
  json::value_stack stack_;
};

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

Result<json::value> parse_strictly(std::string_view text, std::size_t depth_max,
                                   json::storage_ptr storage) {
  json::parse_options options;
  options.max_depth = depth_max;
  std::array<unsigned char, 4096> scratch;  // what small texts are built in, without an allocation
  json::basic_parser<ValueBuilder> parser(options, std::move(storage), scratch.data(),
                                          scratch.size());
  boost::system::error_code ec;
  const std::size_t read = parser.write_some(false, text.data(), text.size(), ec);
  if (!ec && read < text.size()) ec = json::error::extra_data;
  if (ec) {
    const std::size_t at = find_invalid_utf8(text);
    if (at <= read)
      return fail(ErrorCode::invalid_argument, fmt::format("invalid UTF-8 at byte {}", at));
    return fail(ErrorCode::invalid_argument, fmt::format("{} at byte {}", describe(ec), read));
  }
  return parser.handler().release();
}

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// What follows the backslash in an escape of two characters; 0 if `c` has none.
char short_escape(char32_t c) {
  switch (c) {
    case '"':
      return '"';
    case '\\':
      return '\\';
    case '\b':
      return 'b';
    case '\f':
      return 'f';
    case '\n':
      return 'n';
    case '\r':
      return 'r';
    case '\t':
      return 't';
    default:
      return 0;
  }
}

void append_escape(std::string& out, char32_t c) {
  if (const char letter = short_escape(c); letter != 0) {
    out += '\\';
    out += letter;
  } else {
    fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
  }
}

// What a terminal or an editor may act upon: C0 and C1 controls, line separators, changes of
// direction.
bool is_control(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c <= 0x9F) || (c >= 0x2028 && c <= 0x202E) ||
         (c >= 0x2066 && c <= 0x2069);
}

bool needs_escape(char32_t c) { return is_control(c) || c == '"' || c == '\\'; }

// The shortest text that reads back the same, and never as a whole number.
void append_double(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  const double size = std::abs(value);
  const bool is_handy = size == 0 || (size >= 1e-4 && size < 1e16);
  std::array<char, 32> text;
  const char* end =
      std::to_chars(text.data(), text.data() + text.size(), value,
                    is_handy ? std::chars_format::fixed : std::chars_format::scientific)
          .ptr;
  const std::string_view number(text.data(), static_cast<std::size_t>(end - text.data()));
  out += number;
  if (is_handy && number.find('.') == std::string_view::npos) out += ".0";
}

template <typename Whole>
void append_whole(std::string& out, Whole value) {
  std::array<char, 24> text;
  out.append(text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr);
}

template <typename Items, typename Append>
void append_list(std::string& out, std::string_view brackets, const Items& items, Append append) {
  out += brackets.front();
  bool is_first = true;
  for (const auto& item : items) {
    if (!std::exchange(is_first, false)) out += ',';
    append(item);
  }
  out += brackets.back();
}

bool is_plain_ascii(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x7F && byte != '"' && byte != '\\';
}

}  // namespace

Result<json::value> parse_json(std::string_view text, std::size_t depth_max,
                               json::storage_ptr storage) {
  try {
    return parse_strictly(text, depth_max, std::move(storage));
  } catch (const std::exception&) {  // memory, or a length beyond what Boost.JSON can hold
    return fail(ErrorCode::invalid_argument, "too large");
  }
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  std::size_t kept = 0;  // what of `text` stays as it is, and was not appended yet
  for (;;) {
    kept += count_leading<is_plain_ascii>(text.substr(kept));
    if (kept == text.size()) break;

    const DecodedUtf8 next = decode_utf8(text.substr(kept));
    if (next.valid && !needs_escape(next.code_point)) {
      kept += next.bytes;
      continue;
    }
    out += text.substr(0, kept);
    if (next.valid) {
      append_escape(out, next.code_point);
    } else {
      out += kReplacement;
    }
    text.remove_prefix(kept + next.bytes);
    kept = 0;
  }
  out += text;
  out += '"';
}

void append_json(std::string& out, const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      out += "null";
      break;
    case json::kind::bool_:
      out += value.get_bool() ? "true" : "false";
      break;
    case json::kind::int64:
      append_whole(out, value.get_int64());
      break;
    case json::kind::uint64:
      append_whole(out, value.get_uint64());
      break;
    case json::kind::double_:
      append_double(out, value.get_double());
      break;
    case json::kind::string:
      append_json_string(out, value.get_string());
      break;
    case json::kind::object:
      append_json(out, value.get_object());
      break;
    case json::kind::array:
      append_list(out, "[]", value.get_array(),
                  [&](const json::value& element) { append_json(out, element); });
      break;
  }
}

void append_json(std::string& out, const json::object& object) {
  append_list(out, "{}", object, [&](const json::key_value_pair& member) {
    append_json_string(out, member.key());
    out += ':';
    append_json(out, member.value());
  });
}

}  // namespace quern
