#pragma once
// JSON bodies against patterns with wildcards and captures; see README.md.

#include <map>
#include <string>
#include <string_view>

#include "base/json.h"

namespace quern::protocol {

using Captures = std::map<std::string, std::string, std::less<>>;

/// `text` with $name and ${N*x} replaced; what was not captured yet stays.
std::string substitute(std::string_view text, const Captures& captures);

/// Empty if `actual` fits, else where and why not. New captures are added only if all fits.
std::string match_json(const json::value& pattern, const json::value& actual, Captures& captures);

}  // namespace quern::protocol
