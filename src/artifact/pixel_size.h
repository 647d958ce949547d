#pragma once
// The size of a picture.

#include <cstdint>

namespace quern {

struct PixelSize {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
};

}  // namespace quern
