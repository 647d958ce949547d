// Any bytes as a record: what is read of them is written as it was, for each value has one form.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "queue/local/change_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  quern::ChangeReader reader(bytes);
  std::string again;
  while (!reader.is_at_end()) {
    const quern::Result<quern::StoreChange> change = reader.next();
    if (!change) {
      QUERN_ASSERT(change.error().code == quern::ErrorCode::data_loss);
      QUERN_ASSERT(bytes.starts_with(again));
      return 0;
    }
    quern::encode_change(*change, again);
  }
  QUERN_ASSERT(again == bytes);
  return 0;
}
