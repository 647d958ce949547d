#pragma once
// `data:` URIs (RFC 2397): files that travel inside the input. They are read as the WHATWG Fetch
// standard does, with two exceptions: prose is none, though the standard takes anything before the
// comma for a media type; and "#" and line ends are bytes of the file like any other.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace quern {

/// True if `text` has the form of a data URI: "data:", an optional media type with parameters, which
/// may have blanks around them, a comma. Prose that merely begins with "data:" is none ("data: a list, sorted").
[[nodiscard]] bool is_data_uri(std::string_view text);

/// The bytes of a data URI, base64 (padding optional) or percent-encoded.
/// Errors: invalid_argument (not a data URI, broken base64), too_large (more than `bytes_max`).
Result<std::string> decode_data_uri(std::string_view text, std::uint64_t bytes_max);

}  // namespace quern
