// data: URIs come from callers as they are.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "runner/data_uri.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::uint64_t kBytesMax = 1000;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto bytes = quern::decode_data_uri(text, kBytesMax);
  if (!bytes) return 0;
  QUERN_ASSERT(quern::is_data_uri(text));
  QUERN_ASSERT(bytes->size() <= kBytesMax && bytes->size() <= size);
  return 0;
}
