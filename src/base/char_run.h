#pragma once
// Runs of bytes of one kind, found many bytes at a time.

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace quern {

/// How many bytes `text` begins with for which `is` holds. Cheapest with an `is` that only compares its
/// argument with constants: whole blocks, being loops of a fixed length, are then a few vector
/// instructions each.
template <bool (*is)(char)>
constexpr std::size_t count_leading(std::string_view text) {
  constexpr std::size_t kBlock = 16;
  std::size_t count = 0;
  for (; text.size() - count >= kBlock; count += kBlock) {
    // As wide as a byte of the text: of a bool the compiler makes no vector.
    std::uint8_t others = 0;
    for (std::size_t i = 0; i < kBlock; ++i)
      others |= static_cast<std::uint8_t>(!is(text[count + i]));
    if (others != 0) break;
  }
  while (count < text.size() && is(text[count])) ++count;
  return count;
}

}  // namespace quern
