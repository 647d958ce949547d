// Any text as a configuration: no crash, and what is refused is refused with its file and line.

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "server/config.h"

namespace {

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

// "fuzz.toml:12: …", or the same of a file that it includes.
bool names_its_place(std::string_view message) {
  const std::size_t colon = message.find(".toml:");
  if (colon == std::string_view::npos) return false;
  const std::string_view rest = message.substr(colon + 6);
  const std::size_t digits = static_cast<std::size_t>(
      std::distance(rest.begin(), std::ranges::find_if_not(rest, is_digit)));
  return digits > 0 && rest.substr(digits).starts_with(": ");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // Nothing stands beside a file of this name, so that what is included is refused as missing.
  const auto settings = quern::parse_settings(text, "/nowhere/at/all/fuzz.toml");
  QUERN_ASSERT(settings || names_its_place(settings.error().message));
  return 0;
}
