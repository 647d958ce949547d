#include "artifact/media_measures.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cwchar>
#include <exception>
#include <limits>
#include <vector>

#include "artifact/file_ops.h"
#include "base/log.h"

// Debian builds libmediainfo with wide characters, and its header asks for this name.
#define UNICODE
#include <MediaInfo/MediaInfo.h>

namespace quern {
namespace {

namespace mi = MediaInfoLib;

constexpr std::size_t kReadBytes = 64U << 10U;
// libmediainfo seeks to what it needs; a file that makes it read on and on is not worth more.
constexpr std::uint64_t kProbeBytesMax = 256ULL << 20U;

double number(mi::MediaInfo& info, mi::stream_t stream, const wchar_t* field) {
  const double value = std::wcstod(info.Get(stream, 0, field).c_str(), nullptr);
  return std::isfinite(value) && value > 0 ? value : 0;
}

std::uint32_t pixels(mi::MediaInfo& info, mi::stream_t stream, const wchar_t* field) {
  const double value = number(info, stream, field);
  return value <= std::numeric_limits<std::uint32_t>::max() ? static_cast<std::uint32_t>(value) : 0;
}

/// Hands the file over piece by piece, from where libmediainfo asks, until it knows enough.
Result<void> feed(mi::MediaInfo& info, int fd, const std::stop_token& stop) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return io_failure(errno, "reading a file");
  const auto file_bytes = static_cast<std::uint64_t>(status.st_size);
  std::vector<unsigned char> buffer(kReadBytes);
  constexpr std::size_t kDone = 8;  // bit 3 of the answer
  std::uint64_t offset = 0;
  info.Open_Buffer_Init(file_bytes, 0);
  for (std::uint64_t total = 0; total < kProbeBytesMax;) {
    if (stop.stop_requested()) return fail(ErrorCode::unavailable, "stopped");
    const ssize_t got = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_failure(errno, "reading a file");
    if (got == 0) break;
    total += static_cast<std::uint64_t>(got);
    offset += static_cast<std::uint64_t>(got);
    if ((info.Open_Buffer_Continue(buffer.data(), static_cast<std::size_t>(got)) & kDone) != 0) {
      break;
    }
    const auto wanted = info.Open_Buffer_Continue_GoTo_Get();
    if (wanted == std::numeric_limits<decltype(wanted)>::max()) continue;
    offset = wanted;
    info.Open_Buffer_Init(file_bytes, offset);
  }
  info.Open_Buffer_Finalize();
  return {};
}

Result<MediaMeasures> measure(int fd, const std::stop_token& stop) {
  mi::MediaInfo info;
  if (auto fed = feed(info, fd, stop); !fed) return fail(std::move(fed));
  MediaMeasures found;
  found.has_video = info.Count_Get(mi::Stream_Video) > 0;
  found.has_audio = info.Count_Get(mi::Stream_Audio) > 0;
  const mi::stream_t pictures = found.has_video ? mi::Stream_Video : mi::Stream_Image;
  found.width = pixels(info, pictures, L"Width");
  found.height = pixels(info, pictures, L"Height");
  if (found.has_video || found.has_audio) {
    constexpr double kMillisecondsPerSecond = 1000;
    found.duration = number(info, mi::Stream_General, L"Duration") / kMillisecondsPerSecond;
  }
  return found;
}

}  // namespace

Result<MediaMeasures> measure_media(int fd, const std::stop_token& stop) {
  try {
    return measure(fd, stop);
  } catch (const std::exception& e) {
    log_warn("libmediainfo failed on a file", {{"error", e.what()}});
    return MediaMeasures{};
  }
}

}  // namespace quern
