#include "artifact/media_probe.h"

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <optional>
#include <string_view>

#include "artifact/content_type.h"
#include "artifact/file_descriptor.h"
#include "artifact/file_ops.h"
#include "artifact/tiff_size.h"
#include "artifact/webp_size.h"

namespace quern {

namespace {

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

void name_container(MediaInfo& found, const MediaMeasures& measures) {
  for (const ContainerTypes& container : kContainers) {
    if (found.content_type != container.video && found.content_type != container.audio) continue;
    if (measures.has_video) found.content_type = container.video;
    if (!measures.has_video && measures.has_audio) found.content_type = container.audio;
  }
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

Result<MediaInfo> probe_media(int fd, const MeasureMedia& measure, const std::stop_token& stop) {
  Result<std::string> type = find_content_type(fd);
  if (!type) return fail(std::move(type));
  MediaInfo found{.content_type = std::move(*type)};
  if (const auto size = find_size(found.content_type, fd)) {
    found.width = size->width;
    found.height = size->height;
    return found;
  }
  if (!is_measurable(found.content_type)) return found;
  const Result<MediaMeasures> measured = measure(fd, stop);
  if (!measured) return std::unexpected(measured.error());
  found.width = measured->width;
  found.height = measured->height;
  found.duration = measured->duration;
  name_container(found, *measured);
  return found;
}

Result<MediaInfo> probe_media(const std::filesystem::path& file) {
  const FileDescriptor fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) return io_failure(errno, "reading a file");
  return probe_media(fd.get());
}

}  // namespace quern
