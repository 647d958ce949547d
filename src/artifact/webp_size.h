#pragma once
// The size of a WebP picture, still or animated, from its first chunk (RFC 9649).

#include "artifact/pixel_size.h"

namespace quern {

/// Zeros if the file open at `fd` is not a WebP file or is cut short. The position is not changed.
[[nodiscard]] PixelSize find_webp_size(int fd);

}  // namespace quern
