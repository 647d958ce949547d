#pragma once
// The measures of pictures, sound and video, by libmediainfo.

#include <cstdint>
#include <functional>
#include <stop_token>

#include "base/result.h"

namespace quern {

/// Zero means unknown or not applicable.
struct MediaMeasures {
  std::uint32_t width = 0;   // pixels, of images and video
  std::uint32_t height = 0;  // pixels
  double duration = 0;       // seconds, of audio and video
  bool has_video = false;
  bool has_audio = false;
};

/// Measures an open file, of which nothing is known but that it may be such. Errors: unavailable (it cannot be read, the
/// machine is short of something, or it was asked to stop: what was not measured is not what has no measures).
using MeasureMedia = std::function<Result<MediaMeasures>(int fd, const std::stop_token& stop)>;

/// In this process, on the caller's thread. Takes milliseconds; but for a file that was made for it, libmediainfo takes
/// any time and memory. What it throws at a file leaves that without measures.
Result<MediaMeasures> measure_media(int fd, const std::stop_token& stop = {});

}  // namespace quern
