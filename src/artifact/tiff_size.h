#pragma once
// The size of the first picture of a TIFF file (TIFF 6.0) or a BigTIFF file, from its directory.

#include "artifact/pixel_size.h"

namespace quern {

/// Of the entries of a directory that are looked at: they are in the order of their tags, and only
/// two may stand before the size.
inline constexpr unsigned kTiffEntriesMax = 64;

/// Zeros if the file open at `fd` is not such a file, is cut short, or does not say its size in
/// the first kTiffEntriesMax entries. The position is not changed.
[[nodiscard]] PixelSize find_tiff_size(int fd);

}  // namespace quern
