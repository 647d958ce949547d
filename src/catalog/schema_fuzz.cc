// The bytes are a schema, a zero byte and an input. Whatever they are: no crash, each fault says
// something, and filling in defaults a second time changes nothing.

#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "catalog/schema.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quern;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t middle = text.find('\0');
  if (middle == std::string_view::npos) return 0;
  auto document = parse_json(text.substr(0, middle));
  auto input = parse_json(text.substr(middle + 1));
  if (!document || !document->is_object() || !input || !input->is_object()) return 0;

  const auto schema = Schema::compile(std::move(document->get_object()));
  if (!schema) {
    QUERN_ASSERT(!schema.error().message.empty());
    return 0;
  }
  const auto faults = (*schema)->check(input->get_object());
  QUERN_ASSERT(faults.size() <= kInputFaultsMax);
  for (const InputFault& fault : faults) QUERN_ASSERT(!fault.msg.empty() && !fault.type.empty());

  json::object filled = input->get_object();
  if (!(*schema)->fill_defaults(filled)) return 0;
  json::object again = filled;
  QUERN_ASSERT((*schema)->fill_defaults(again));
  QUERN_ASSERT(again == filled);
  return 0;
}
