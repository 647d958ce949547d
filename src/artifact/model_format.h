#pragma once
// 3D formats, which libmagic takes for text or for nothing at all.

#include <cstdint>
#include <string_view>

namespace quern {

/// The media type of a glTF, STL, PLY or OBJ file, or "".
///
/// magic_type  what libmagic says
/// head        the first 64 KiB, or all of it
/// file_bytes  the whole file's length
[[nodiscard]] std::string_view find_model_format(std::string_view magic_type, std::string_view head,
                                                 std::uint64_t file_bytes);

}  // namespace quern
