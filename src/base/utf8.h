#pragma once
// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing beyond U+10FFFF.

#include <cstddef>
#include <string_view>

namespace quern {

struct DecodedUtf8 {
  char32_t code_point = 0;
  std::size_t bytes = 1;  // if invalid: how many to skip, at least one
  bool valid = false;
};

/// The first character of `text`, which is not empty. An invalid sequence is as long as the part of
/// it that could have begun a character, as the Unicode standard advises for U+FFFD.
DecodedUtf8 decode_utf8(std::string_view text);

/// Where the first invalid sequence begins; npos if all is valid.
std::size_t find_invalid_utf8(std::string_view text);

/// How many characters (code points) valid UTF-8 has.
std::size_t count_utf8(std::string_view text);

/// The first `bytes_max` bytes, without a part of a character at their end.
std::string_view cut_utf8(std::string_view text, std::size_t bytes_max);

}  // namespace quern
