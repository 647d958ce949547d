#pragma once
// Names of files that somebody else chose: a runner, a caller, a server.

#include <string>
#include <string_view>

namespace quern {

/// A name that is safe as one path segment and in a URL: no slash, no control character, not "." or
/// "..", at most 128 bytes (the extension is kept), never empty.
std::string safe_file_name(std::string_view name);

}  // namespace quern
