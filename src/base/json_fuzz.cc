// Whatever the bytes: no crash, and what is accepted is valid UTF-8 that reads back the same.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "base/json.h"
#include "base/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quern;
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  if (const auto parsed = parse_json(text)) {
    QUERN_ASSERT(find_invalid_utf8(text) == std::string_view::npos);
    const auto again = parse_json(to_json(*parsed));
    QUERN_ASSERT(again.has_value() && *again == *parsed);
  }

  std::string quoted;
  append_json_string(quoted, text);
  const auto unquoted = parse_json(quoted);
  QUERN_ASSERT(unquoted.has_value() && unquoted->is_string());
  if (find_invalid_utf8(text) == std::string_view::npos)
    QUERN_ASSERT(unquoted->get_string() == text);
  return 0;
}
