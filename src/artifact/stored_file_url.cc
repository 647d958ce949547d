#include "artifact/stored_file_url.h"

#include "artifact/key_folders.h"

namespace quern {

namespace {

constexpr std::string_view kFolder = "files";

/// Cuts the last segment of a path off, and the slash before it; nullopt if there is no slash.
std::optional<std::string_view> take_last_segment(std::string_view& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const std::string_view segment = path.substr(slash + 1);
  path = path.substr(0, slash);
  return segment;
}

std::optional<unsigned> hex_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
  return std::nullopt;
}

}  // namespace

std::optional<StoredFileUrl> parse_stored_file_url(std::string_view url) {
  const std::size_t scheme_end = url.substr(0, 8).find("://");
  const std::string_view scheme = url.substr(0, scheme_end);
  if (scheme != "http" && scheme != "https") return std::nullopt;
  std::string_view path = url.substr(scheme_end + 3);
  path = path.substr(0, path.find_first_of("?#"));

  const auto name = take_last_segment(path);
  const auto key = name ? take_last_segment(path) : std::nullopt;
  const auto folder = key ? take_last_segment(path) : std::nullopt;
  if (!folder || *folder != kFolder || !is_file_key(*key) || name->empty()) return std::nullopt;
  return StoredFileUrl{.file_key = std::string(*key), .file_name = unescape_percent(*name)};
}

std::string unescape_percent(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_escape = text[i] == '%' && i + 2 < text.size();
    const auto high = is_escape ? hex_digit(text[i + 1]) : std::nullopt;
    const auto low = is_escape ? hex_digit(text[i + 2]) : std::nullopt;
    if (high && low) {
      bytes += static_cast<char>(*high << 4U | *low);
      i += 2;
    } else {
      bytes += text[i];
    }
  }
  return bytes;
}

}  // namespace quern
