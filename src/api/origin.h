#pragma once
// The origin of a browser's page, as a request's `Origin` header has it.

#include <string_view>

namespace quern::api {

/// scheme://host[:port], as browsers write it (RFC 6454, 6.2): in lower case, without a path, and
/// without the port that the scheme has anyway. Anything else is never what a page sends.
[[nodiscard]] bool is_origin(std::string_view text);

}  // namespace quern::api
