#pragma once
// Text as a part of a URL.

#include <string>
#include <string_view>

namespace quern {

/// Everything but the unreserved characters (letters, digits, `-`, `.`, `_` and `~` of ASCII) as %XX.
std::string percent_encode(std::string_view text);

/// As one segment of a path, whatever the text is: one or two dots, which would lead to another path,
/// are escaped too.
std::string percent_encode_segment(std::string_view text);

}  // namespace quern
