#pragma once
// What kind of file it is, told from its bytes, never from its name.

#include <string>
#include <string_view>

#include "base/result.h"

namespace quern {

/// The media type of the file open at `fd`, by libmagic, corrected where libmagic 5.44 is wrong,
/// vague or old-fashioned (3D formats, JSON, WAVE, M4A, program text); "application/octet-stream"
/// if unknown. What a container holds, sound or pictures, is not looked at: probe_media() does
/// that. The file position is changed. Threads: any. Errors: unavailable (cannot be read).
Result<std::string> find_content_type(int fd);

/// What libmagic is asked about in place of a text: the text, with no white space longer than 32 bytes. Some of its
/// rules take most of a second of a core for 64 KiB of blank lines, which anybody may send. What holds other control characters
/// is no text, and stays as it is.
[[nodiscard]] std::string squeeze_blanks(std::string_view head);

/// The usual file extension, with its dot, or "" if there is none: "image/jpeg" is ".jpg".
[[nodiscard]] std::string_view extension_of(std::string_view content_type);

/// `name` with the extension of `content_type` if it has none at all.
[[nodiscard]] std::string with_extension(std::string name, std::string_view content_type);

}  // namespace quern
