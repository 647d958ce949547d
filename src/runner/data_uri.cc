#include "runner/data_uri.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "artifact/stored_file_url.h"
#include "base/ascii.h"

namespace quern {

namespace {

constexpr std::string_view kScheme = "data:";
constexpr std::string_view kBase64 = "base64";
constexpr std::string_view kBlanks = " \t\n\f\r";
constexpr std::uint8_t kNoDigit = 0xff;

bool is_blank(char c) { return kBlanks.find(c) != std::string_view::npos; }

std::string_view trim_begin(std::string_view text, std::string_view what) {
  return text.substr(std::min(text.find_first_not_of(what), text.size()));
}
std::string_view trim_end(std::string_view text, std::string_view what) {
  return text.substr(0, text.find_last_not_of(what) + 1);
}

/// What a media type and its parameters are written with; "%" and quotes for odd parameters. No
/// blanks: prose has them.
bool is_head_character(char c) {
  const char l = to_lower(c);
  return (l >= 'a' && l <= 'z') || (l >= '0' && l <= '9') ||
         std::string_view("/=+-._!#$&^*'`|~%\"").find(c) != std::string_view::npos;
}

bool is_media_type(std::string_view text) {
  const std::size_t slash = text.find('/');
  return slash != std::string_view::npos && slash > 0 && slash + 1 < text.size() &&
         std::ranges::all_of(text, is_head_character);
}

bool is_parameter(std::string_view text) {
  return std::ranges::all_of(trim_begin(trim_end(text, kBlanks), kBlanks), is_head_character);
}

struct Parts {
  bool is_base64 = false;
  std::string_view body;
};

std::optional<Parts> split(std::string_view text) {
  if (!equals_ignoring_case(text.substr(0, kScheme.size()), kScheme)) return std::nullopt;
  text.remove_prefix(kScheme.size());
  const std::size_t comma = text.find(',');
  if (comma == std::string_view::npos) return std::nullopt;
  const std::string_view head = trim_end(text.substr(0, comma), kBlanks);
  const std::string_view type = trim_end(head.substr(0, head.find(';')), kBlanks);
  if (!type.empty() && !is_media_type(type)) return std::nullopt;
  Parts parts{.body = text.substr(comma + 1)};
  for (std::size_t at = head.find(';'); at != std::string_view::npos;) {
    const std::size_t next = head.find(';', at + 1);
    const std::string_view parameter = head.substr(at + 1, next - at - 1);
    if (!is_parameter(parameter)) return std::nullopt;
    parts.is_base64 = equals_ignoring_case(trim_begin(parameter, " "), kBase64);
    at = next;
  }
  return parts;
}

constexpr std::array<std::uint8_t, 256> make_digits() {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::array<std::uint8_t, 256> digits{};
  digits.fill(kNoDigit);
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    digits[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::uint8_t>(i);
  }
  return digits;
}
constexpr std::array<std::uint8_t, 256> kDigits = make_digits();

void strip_padding(std::string_view& text) {
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  for (int i = 0; i < 2 && text.ends_with('='); ++i) {
    text.remove_suffix(1);
    while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  }
}

/// Blanks are passed over; the padding may be missing, and bits left over are dropped.
Result<std::string> base64_decode(std::string_view text) {
  strip_padding(text);
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 2);
  std::uint32_t bits = 0;
  unsigned digits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_blank(text[i])) continue;
    const std::uint8_t digit = kDigits[static_cast<unsigned char>(text[i])];
    if (digit == kNoDigit) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("broken base64 at character {} of the data", i + 1));
    }
    bits = bits << 6U | digit;
    if (++digits % 4 != 0) continue;
    bytes += static_cast<char>(bits >> 16U & 0xffU);
    bytes += static_cast<char>(bits >> 8U & 0xffU);
    bytes += static_cast<char>(bits & 0xffU);
  }
  switch (digits % 4) {
    case 1:
      return fail(ErrorCode::invalid_argument, "base64 data is cut short");
    case 2:
      bytes += static_cast<char>(bits >> 4U & 0xffU);
      break;
    case 3:
      bytes += static_cast<char>(bits >> 10U & 0xffU);
      bytes += static_cast<char>(bits >> 2U & 0xffU);
      break;
    default:
      break;
  }
  return bytes;
}

}  // namespace

bool is_data_uri(std::string_view text) { return split(text).has_value(); }

Result<std::string> decode_data_uri(std::string_view text, std::uint64_t bytes_max) {
  const std::optional<Parts> parts = split(text);
  if (!parts) return fail(ErrorCode::invalid_argument, "not a data URI");
  const bool has_escapes = parts->body.find('%') != std::string_view::npos;
  Result<std::string> bytes;
  if (!parts->is_base64) {
    bytes = unescape_percent(parts->body);
  } else if (has_escapes) {
    bytes = base64_decode(unescape_percent(parts->body));
  } else {
    bytes = base64_decode(parts->body);
  }
  if (bytes && bytes->size() > bytes_max) {
    return fail(ErrorCode::too_large, fmt::format("data larger than {} bytes", bytes_max));
  }
  return bytes;
}

}  // namespace quern
