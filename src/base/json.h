#pragma once
// JSON is Boost.JSON everywhere, parsed strictly: RFC 8259, valid UTF-8, no NaN, no comments, no
// lone surrogates, bounded nesting.

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/storage_ptr.hpp>
#include <boost/json/value.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace quern {

namespace json = boost::json;

inline constexpr std::size_t kJsonDepthMax = 64;

/// Of members with the same name the last one counts, as in Python and JavaScript. Numbers that no
/// double can hold are refused. Nesting beyond `depth_max` is refused without recursion. The value
/// takes its memory from `storage`. Errors: invalid_argument, with a message for the sender
/// ("… at byte 17").
Result<json::value> parse_json(std::string_view text, std::size_t depth_max = kJsonDepthMax,
                               json::storage_ptr storage = {});

/// Appends `text` as a JSON string, quotes included. Invalid UTF-8 becomes U+FFFD; besides what
/// JSON demands, C1 controls, line separators and changes of direction are escaped, so that the
/// text is safe to show.
void append_json_string(std::string& out, std::string_view text);

/// Appends the value without spaces, its strings as append_json_string() writes them. Numbers read back as the same
/// number of the same kind and look as people write them: 7.5, 1.0, 1e+30. (Boost.JSON writes 7.5E0.)
void append_json(std::string& out, const json::value& value);
void append_json(std::string& out, const json::object& object);

template <typename JsonValue>
std::string to_json(const JsonValue& value) {
  std::string text;
  append_json(text, value);
  return text;
}

}  // namespace quern
