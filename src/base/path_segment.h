#pragma once
// One segment of a URL's path, or one value of its query, from any text.

#include <string>
#include <string_view>

namespace quern {

/// Escapes all but letters, digits, `_`, `-` and `.` of ASCII as %XX. A text of one or two dots is
/// escaped too: as it is, it would lead to another path.
inline std::string percent_encode_segment(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  const bool is_dots = text == "." || text == "..";
  std::string out;
  for (const char c : text) {
    const bool is_plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                          (c >= 'a' && c <= 'z') || c == '_' || c == '-' || (c == '.' && !is_dots);
    if (is_plain) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += kHex[byte >> 4U];
    out += kHex[byte & 0xfU];
  }
  return out;
}

}  // namespace quern
