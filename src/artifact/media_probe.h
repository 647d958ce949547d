#pragma once
// What a file is, told from its content: type by libmagic, measures by libmediainfo.

#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>

#include "artifact/media_measures.h"
#include "base/result.h"

namespace quern {

/// Zero means unknown or not applicable.
struct MediaInfo {
  std::string content_type;  // "image/png"; "application/octet-stream" if unknown; glTF and STL are
                             // told by content too
  std::uint32_t width = 0;   // pixels, of images and video
  std::uint32_t height = 0;  // pixels
  double duration = 0;       // seconds, of audio and video
};

/// Measures are those of the bytes as stored: a JPEG that asks to be turned is not turned. An SVG
/// has none. Threads: any. Reads the file; takes milliseconds, and what `measure` takes. Errors: unavailable (cannot be
/// read, and what `measure` says).
Result<MediaInfo> probe_media(const std::filesystem::path& file);
/// The same of an open file. Changes its position.
Result<MediaInfo> probe_media(int fd, const MeasureMedia& measure = measure_media,
                              const std::stop_token& stop = {});

}  // namespace quern
