#include "base/safe_file_name.h"

#include <algorithm>

#include "base/utf8.h"

namespace quern {

namespace {

constexpr std::size_t kNameBytesMax = 128;
constexpr std::size_t kExtensionBytesMax = 16;  // a longer one is part of the name

/// Characters that mean something in URLs, headers, shells or other systems' file names, that do
/// not show, or that turn the direction of writing so that a name reads as another.
bool is_harmful(char32_t c) {
  if (c < 0x20 || (c >= 0x7f && c < 0xa0)) return true;
  if (c < 0x80)
    return std::string_view("\"*/:<>?\\|%#").find(static_cast<char>(c)) != std::string_view::npos;
  return c == 0x061c || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

std::string replace_harmful(std::string_view name) {
  std::string safe;
  safe.reserve(name.size());
  while (!name.empty()) {
    const DecodedUtf8 c = decode_utf8(name);
    if (c.valid && !is_harmful(c.code_point)) {
      safe += name.substr(0, c.bytes);
    } else {
      safe += '_';
    }
    name.remove_prefix(c.bytes);
  }
  return safe;
}

/// At most `bytes_max` bytes of valid UTF-8, cut between characters.
std::string_view cut(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  const auto is_inside = [text](std::size_t at) {
    return (static_cast<unsigned char>(text[at]) & 0xc0U) == 0x80U;
  };
  while (bytes_max > 0 && is_inside(bytes_max)) --bytes_max;
  return text.substr(0, bytes_max);
}

void trim(std::string& text) {
  text.erase(0, std::min(text.find_first_not_of(' '), text.size()));
  text.erase(text.find_last_not_of(' ') + 1);
}

std::string shorten(const std::string& name) {
  if (name.size() <= kNameBytesMax) return name;
  const std::size_t dot = name.rfind('.');
  const bool has_extension = dot != std::string::npos && name.size() - dot <= kExtensionBytesMax;
  const std::string extension = has_extension ? name.substr(dot) : std::string();
  return std::string(cut(name, kNameBytesMax - extension.size())) + extension;
}

}  // namespace

std::string safe_file_name(std::string_view name) {
  // Names of other systems come with their folders: C:\pictures\cat.png.
  name.remove_prefix(name.find_last_of("/\\") + 1);
  std::string safe = replace_harmful(name);
  trim(safe);
  if (safe.starts_with('.')) safe.front() = '_';  // neither hidden nor "." nor ".."
  if (safe.empty()) return "file";
  safe = shorten(safe);
  trim(safe);
  return safe;
}

}  // namespace quern
