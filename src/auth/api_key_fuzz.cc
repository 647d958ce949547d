// Whatever the header: no crash, and it opens only with the secret itself behind one of the two
// schemes.

#include <cstdint>
#include <string_view>

#include "auth/api_key.h"
#include "base/assert.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quern;
  static const auto ring = [] {
    ApiKey key;
    key.id = "a";
    key.secrets = {sha256("k")};
    return KeyRing::make({key}).value();
  }();
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  if (ring->authenticate(text).key != nullptr) {
    const std::size_t end = text.find_last_not_of(" \t");
    QUERN_ASSERT(text[end] == 'k' && end >= 4 && (text[end - 1] == ' ' || text[end - 1] == '\t'));
  }
  const std::size_t middle = size / 2;
  static_cast<void>(matches_glob(text.substr(0, middle), text.substr(middle)));
  QUERN_ASSERT(matches_glob("*", text));
  if (const auto digest = parse_secret(text)) QUERN_ASSERT(to_hex(*digest).size() == 64);
  return 0;
}
