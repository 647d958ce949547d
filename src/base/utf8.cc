#include "base/utf8.h"

#include <cstdint>

#include "base/assert.h"

namespace quern {
namespace {

// What may follow a lead byte: how many bytes, and the range of the first of them, which is
// narrower after some leads (Unicode standard, table 3-7).
struct Lead {
  std::size_t following = 0;
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
};

Lead lead_of(unsigned char byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {.following = 1};
  if (byte == 0xE0) return {.following = 2, .low = 0xA0};
  if (byte == 0xED) return {.following = 2, .high = 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {.following = 2};
  if (byte == 0xF0) return {.following = 3, .low = 0x90};
  if (byte == 0xF4) return {.following = 3, .high = 0x8F};
  if (byte >= 0xF1 && byte <= 0xF3) return {.following = 3};
  return {};
}

}  // namespace

DecodedUtf8 decode_utf8(std::string_view text) {
  QUERN_ASSERT(!text.empty());
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return {.code_point = first, .bytes = 1, .valid = true};
  Lead lead = lead_of(first);
  if (lead.following == 0) return {};

  char32_t code_point = first & (0x3FU >> lead.following);
  for (std::size_t i = 1; i <= lead.following; ++i) {
    if (i == text.size()) return {.bytes = i};
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < lead.low || byte > lead.high) return {.bytes = i};
    lead.low = 0x80;
    lead.high = 0xBF;
    code_point = (code_point << 6U) | (byte & 0x3FU);
  }
  return {.code_point = code_point, .bytes = lead.following + 1, .valid = true};
}

std::size_t find_invalid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const DecodedUtf8 next = decode_utf8(text.substr(at));
    if (!next.valid) return at;
    at += next.bytes;
  }
  return std::string_view::npos;
}

std::size_t count_utf8(std::string_view text) {
  const auto begins_character = [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
  };
  // Blocks of a fixed size are what the compiler makes a few vector instructions of.
  constexpr std::size_t kBlock = 16;
  std::size_t count = 0;
  for (; text.size() >= kBlock; text.remove_prefix(kBlock)) {
    std::uint8_t in_block = 0;
    for (std::size_t i = 0; i < kBlock; ++i)
      in_block = static_cast<std::uint8_t>(in_block + begins_character(text[i]));
    count += in_block;
  }
  for (const char c : text) count += begins_character(c);
  return count;
}

std::string_view cut_utf8(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  const auto goes_on = [&](std::size_t at) {
    return (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U;
  };
  std::size_t end = bytes_max;
  // At most three continuation bytes stand before the end of a character; more are no text.
  for (int i = 0; i < 3 && end > 0 && goes_on(end); ++i) --end;
  return text.substr(0, end);
}

}  // namespace quern
