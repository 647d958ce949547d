#include "artifact/tiff_size.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <optional>
#include <span>
#include <string_view>

namespace quern {

namespace {

using Bytes = std::span<const unsigned char>;

constexpr std::size_t kHeadBytes = 16;
constexpr std::uint64_t kWidthTag = 256;
constexpr std::uint64_t kHeightTag = 257;

// How the two kinds of file differ: the bytes of an offset or a count, of the number of entries,
// and of an entry.
struct Layout {
  std::size_t offset_bytes;
  std::size_t count_bytes;
  std::size_t entry_bytes;
};
constexpr Layout kClassic{4, 2, 12};
constexpr Layout kBig{8, 8, 20};

std::uint64_t number(Bytes bytes, bool is_little) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    value = value << 8U | bytes[is_little ? bytes.size() - 1 - i : i];
  return value;
}

// The bytes of a whole number of this type: BYTE, SHORT, LONG, LONG8; 0 for any other.
std::size_t bytes_of_type(std::uint64_t type) {
  switch (type) {
    case 1:
      return 1;
    case 3:
      return 2;
    case 4:
      return 4;
    case 16:
      return 8;
    default:
      return 0;
  }
}

// The one number that an entry holds: tag, type, how many, then the value from the left.
std::uint32_t value_of(Bytes entry, const Layout& layout, bool is_little) {
  const std::size_t bytes = bytes_of_type(number(entry.subspan(2, 2), is_little));
  const std::uint64_t count = number(entry.subspan(4, layout.offset_bytes), is_little);
  if (bytes == 0 || bytes > layout.offset_bytes || count != 1) return 0;
  const std::uint64_t value = number(entry.subspan(4 + layout.offset_bytes, bytes), is_little);
  return value <= std::numeric_limits<std::uint32_t>::max() ? static_cast<std::uint32_t>(value) : 0;
}

std::optional<Layout> layout_of(Bytes head, bool is_little) {
  const std::uint64_t version = number(head.subspan(2, 2), is_little);
  if (version == 42) return kClassic;
  const bool is_big = version == 43 && number(head.subspan(4, 2), is_little) == 8;
  return is_big ? std::optional(kBig) : std::nullopt;
}

std::size_t read_at(int fd, std::uint64_t offset, std::span<unsigned char> into) {
  if (offset > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max())) return 0;
  const ssize_t got = ::pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
  return got > 0 ? static_cast<std::size_t>(got) : 0;
}

}  // namespace

PixelSize find_tiff_size(int fd) {
  // "II" or "MM" for the order of bytes, the version, and where the first directory is
  std::array<unsigned char, kHeadBytes> head{};
  const std::size_t head_bytes = read_at(fd, 0, head);
  const std::string_view order(reinterpret_cast<const char*>(head.data()), 2);
  const bool is_little = order == "II";
  if (head_bytes < 8 || (!is_little && order != "MM")) return {};
  const std::optional<Layout> layout = layout_of(head, is_little);
  if (!layout || head_bytes < 2 * layout->offset_bytes) return {};
  const std::uint64_t place =
      number(Bytes(head).subspan(layout->offset_bytes, layout->offset_bytes), is_little);

  std::array<unsigned char, 8 + 20 * kTiffEntriesMax> buffer{};
  const Bytes directory(buffer.data(), read_at(fd, place, buffer));
  if (directory.size() < layout->count_bytes) return {};
  const std::uint64_t listed = number(directory.first(layout->count_bytes), is_little);
  const std::size_t there = (directory.size() - layout->count_bytes) / layout->entry_bytes;
  const auto entries = static_cast<std::size_t>(std::min<std::uint64_t>(listed, there));

  PixelSize size;
  for (std::size_t i = 0; i < entries; ++i) {
    const Bytes entry =
        directory.subspan(layout->count_bytes + i * layout->entry_bytes, layout->entry_bytes);
    const std::uint64_t tag = number(entry.first(2), is_little);
    if (tag == kWidthTag) size.width = value_of(entry, *layout, is_little);
    if (tag == kHeightTag) size.height = value_of(entry, *layout, is_little);
  }
  return size;
}

}  // namespace quern
