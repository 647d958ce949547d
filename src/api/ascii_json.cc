#include "api/ascii_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>

#include "base/utf8.h"

namespace quern::api {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }

void append_escaped(std::string& out, char32_t code_point) {
  const auto append = [&](char32_t unit) {
    fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<std::uint32_t>(unit));
  };
  if (code_point < 0x10000) return append(code_point);
  append(0xD800 + ((code_point - 0x10000) >> 10U));
  append(0xDC00 + ((code_point - 0x10000) & 0x3FFU));
}

}  // namespace

std::string to_ascii_json(std::string text) {
  if (std::ranges::all_of(text, is_ascii)) return text;
  std::string out;
  out.reserve(text.size() * 2);
  std::string_view rest = text;
  while (!rest.empty()) {
    if (is_ascii(rest.front())) {
      out += rest.front();
      rest.remove_prefix(1);
      continue;
    }
    const DecodedUtf8 next = decode_utf8(rest);
    append_escaped(out, next.valid ? next.code_point : kReplacement);
    rest.remove_prefix(next.bytes);
  }
  return out;
}

}  // namespace quern::api
