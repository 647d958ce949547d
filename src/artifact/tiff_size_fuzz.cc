// Any bytes as a TIFF file: no crash, and the same answer twice.

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

#include "artifact/tiff_size.h"
#include "base/assert.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int fd = ::memfd_create("tiff", 0);
  QUERN_ASSERT(::ftruncate(fd, 0) == 0);
  QUERN_ASSERT(::pwrite(fd, data, size, 0) == static_cast<ssize_t>(size));
  const quern::PixelSize first = quern::find_tiff_size(fd);
  const quern::PixelSize again = quern::find_tiff_size(fd);
  QUERN_ASSERT(first.width == again.width && first.height == again.height);
  return 0;
}
