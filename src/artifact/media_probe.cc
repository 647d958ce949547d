#include "artifact/media_probe.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cwchar>
#include <exception>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include "artifact/content_type.h"
#include "artifact/file_descriptor.h"
#include "artifact/file_ops.h"
#include "artifact/tiff_size.h"
#include "artifact/webp_size.h"
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

/// What a container is called when it holds pictures, and when it holds sound only.
struct ContainerTypes {
  std::string_view video;
  std::string_view audio;
};
constexpr auto kContainers = std::to_array<ContainerTypes>({
    {"video/mp4", "audio/mp4"},
    {"video/ogg", "audio/ogg"},
    {"video/webm", "audio/webm"},
    {"video/x-matroska", "audio/x-matroska"},
    {"video/3gpp", "audio/3gpp"},
});

double number(mi::MediaInfo& info, mi::stream_t stream, const wchar_t* field) {
  const double value = std::wcstod(info.Get(stream, 0, field).c_str(), nullptr);
  return std::isfinite(value) && value > 0 ? value : 0;
}

std::uint32_t pixels(mi::MediaInfo& info, mi::stream_t stream, const wchar_t* field) {
  const double value = number(info, stream, field);
  return value <= std::numeric_limits<std::uint32_t>::max() ? static_cast<std::uint32_t>(value) : 0;
}

/// Hands the file over piece by piece, from where libmediainfo asks, until it knows enough.
Result<void> feed(mi::MediaInfo& info, int fd, std::uint64_t file_bytes) {
  std::vector<unsigned char> buffer(kReadBytes);
  constexpr std::size_t kDone = 8;  // bit 3 of the answer
  std::uint64_t offset = 0;
  info.Open_Buffer_Init(file_bytes, 0);
  for (std::uint64_t total = 0; total < kProbeBytesMax;) {
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

void name_container(MediaInfo& found, bool has_video, bool has_audio) {
  for (const ContainerTypes& container : kContainers) {
    if (found.content_type != container.video && found.content_type != container.audio) continue;
    if (has_video) found.content_type = container.video;
    if (!has_video && has_audio) found.content_type = container.audio;
  }
}

Result<void> measure(MediaInfo& found, int fd, std::uint64_t file_bytes) {
  mi::MediaInfo info;
  if (auto fed = feed(info, fd, file_bytes); !fed) return fed;
  const bool has_video = info.Count_Get(mi::Stream_Video) > 0;
  const bool has_audio = info.Count_Get(mi::Stream_Audio) > 0;
  const mi::stream_t pictures = has_video ? mi::Stream_Video : mi::Stream_Image;
  found.width = pixels(info, pictures, L"Width");
  found.height = pixels(info, pictures, L"Height");
  name_container(found, has_video, has_audio);
  if (has_video || has_audio) {
    constexpr double kMillisecondsPerSecond = 1000;
    found.duration = number(info, mi::Stream_General, L"Duration") / kMillisecondsPerSecond;
  }
  return {};
}

// Of the pictures of which libmediainfo 23.04 knows no more than the name; nullopt for others.
std::optional<PixelSize> find_size(std::string_view type, int fd) {
  if (type == "image/webp") return find_webp_size(fd);
  if (type == "image/tiff") return find_tiff_size(fd);
  return std::nullopt;
}

bool is_measurable(std::string_view type) {
  return (type.starts_with("image/") && type != "image/svg+xml") || type.starts_with("video/") ||
         type.starts_with("audio/");
}

}  // namespace

Result<MediaInfo> probe_media(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return io_failure(errno, "reading a file");
  Result<std::string> type = find_content_type(fd);
  if (!type) return fail(std::move(type));
  MediaInfo found{.content_type = std::move(*type)};
  if (const auto size = find_size(found.content_type, fd)) {
    found.width = size->width;
    found.height = size->height;
    return found;
  }
  if (!is_measurable(found.content_type)) return found;
  try {
    auto measured = measure(found, fd, static_cast<std::uint64_t>(status.st_size));
    if (!measured) return fail(std::move(measured));
  } catch (const std::exception& e) {
    log_warn("libmediainfo failed on a file", {{"type", found.content_type}, {"error", e.what()}});
  }
  return found;
}

Result<MediaInfo> probe_media(const std::filesystem::path& file) {
  const FileDescriptor fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) return io_failure(errno, "reading a file");
  return probe_media(fd.get());
}

}  // namespace quern
