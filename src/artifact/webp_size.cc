#include "artifact/webp_size.h"

#include <unistd.h>

#include <array>
#include <cstddef>
#include <string_view>

namespace quern {

namespace {

constexpr std::size_t kHeadBytes = 30;
using Head = std::array<unsigned char, kHeadBytes>;

std::uint32_t little_endian(const Head& head, std::size_t at, std::size_t bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = bytes; i-- > 0;) value = value << 8U | head[at + i];
  return value;
}

}  // namespace

PixelSize find_webp_size(int fd) {
  // "RIFF" length "WEBP", then the first chunk: its name at 12, its length at 16, its content at 20
  Head head{};
  if (::pread(fd, head.data(), head.size(), 0) != static_cast<ssize_t>(head.size())) return {};
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  if (text.substr(0, 4) != "RIFF" || text.substr(8, 4) != "WEBP") return {};
  const std::string_view chunk = text.substr(12, 4);
  constexpr std::uint32_t k14Bits = 0x3fff;
  if (chunk == "VP8X") {  // extended: the canvas, each side less one in 24 bits
    return {little_endian(head, 24, 3) + 1, little_endian(head, 27, 3) + 1};
  }
  if (chunk == "VP8L" && head[20] == 0x2f) {  // lossless: each side less one in 14 bits
    const std::uint32_t bits = little_endian(head, 21, 4);
    return {(bits & k14Bits) + 1, (bits >> 14U & k14Bits) + 1};
  }
  if (chunk == "VP8 " && text.substr(23, 3) == "\x9d\x01\x2a") {  // lossy: 14 bits and a scale
    return {little_endian(head, 26, 2) & k14Bits, little_endian(head, 28, 2) & k14Bits};
  }
  return {};
}

}  // namespace quern
