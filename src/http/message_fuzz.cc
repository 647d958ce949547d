// Percent-encoding and queries: what is decoded can be encoded again, and nothing is read out of
// bounds.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "base/percent_encode.h"
#include "http/message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quern;
  using namespace quern::http;
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  const auto decoded = percent_decode(text);
  if (decoded) QUERN_ASSERT(decoded->size() <= text.size());
  QUERN_ASSERT(percent_decode(percent_encode(text)) == text);

  for (const auto& [name, value] : parse_query(text)) {
    QUERN_ASSERT(name.size() + value.size() <= text.size());
    const auto again = parse_query(percent_encode(name) + "=" + percent_encode(value));
    QUERN_ASSERT(again.size() == 1 && again[0].first == name && again[0].second == value);
  }

  Response response;
  response.add_header("X", text);
  QUERN_ASSERT(response.head.find('\n') == response.head.size() - 1);
  return 0;
}
