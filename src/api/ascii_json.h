#pragma once
// JSON that stands in ASCII alone.

#include <string>

namespace quern::api {

/// The same JSON value, with each character beyond ASCII as \uXXXX, two of them beyond U+FFFF. `text`: JSON.
std::string to_ascii_json(std::string text);

}  // namespace quern::api
