#pragma once
// `data:` URIs (RFC 2397, read as the WHATWG Fetch standard does): files that travel inside the
// input.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace quern {

/// True if `text` has the form of a data URI: "data:", an optional media type with parameters, a
/// comma. Prose that merely begins with "data:" is none ("data: a list, sorted").
[[nodiscard]] bool is_data_uri(std::string_view text);

/// The bytes of a data URI, base64 (padding optional) or percent-encoded.
/// Errors: invalid_argument (not a data URI, broken base64), too_large (more than `bytes_max`).
Result<std::string> decode_data_uri(std::string_view text, std::uint64_t bytes_max);

}  // namespace quern
