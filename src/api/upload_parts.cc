#include "api/upload_parts.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <utility>

#include "artifact/file_descriptor.h"
#include "base/safe_file_name.h"

namespace quern::api {
namespace {

Result<void> append_file(Upload& upload, int fd) {
  std::array<char, 256 * 1024> buffer;
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(ErrorCode::unavailable, "cannot read a part");
    if (got == 0) return {};
    auto written = upload.write(std::string_view(buffer.data(), static_cast<std::size_t>(got)));
    if (!written) return written;
  }
}

bool is_missing(const Error& error) { return error.code == ErrorCode::not_found; }

// The whole, when its parts went into it already: a caller whose answer was lost asks again.
Result<std::optional<Output>> find_assembled(const ArtifactStore& store, const UploadLinks& links,
                                             const UploadInParts& upload) {
  for (const std::uint32_t part : upload.parts) {
    const auto path = store.find_path(links.file_key(upload.nonce, part), kUploadPartName);
    if (path) return std::nullopt;
    if (!is_missing(path.error())) return std::unexpected(path.error());
  }
  Output whole;
  whole.file_key = links.file_key(upload.nonce);
  whole.file_name = safe_file_name(upload.name);
  auto file = store.open_file(whole.file_key, whole.file_name);
  if (!file && is_missing(file.error())) return std::nullopt;
  if (!file) return std::unexpected(file.error());
  const FileDescriptor closed_at_the_end(file->fd);
  whole.content_type = std::move(file->content_type);
  whole.file_bytes = file->bytes;
  return whole;
}

Result<void> append_part(Upload& whole, const ArtifactStore& store, const std::string& key,
                         std::uint32_t part) {
  const auto file = store.open_file(key, kUploadPartName);
  if (!file && is_missing(file.error())) {
    return fail(ErrorCode::invalid_argument, fmt::format("Part {} was not uploaded", part));
  }
  if (!file) return std::unexpected(file.error());
  const FileDescriptor opened(file->fd);
  return append_file(whole, opened.get());
}

}  // namespace

Result<Output> assemble(ArtifactStore& store, const UploadLinks& links, const UploadInParts& upload,
                        std::uint64_t bytes_max) {
  auto assembled = find_assembled(store, links, upload);
  if (!assembled) return std::unexpected(assembled.error());
  if (assembled->has_value()) return std::move(**assembled);

  auto growing = store.start_upload(upload.name, bytes_max, links.file_key(upload.nonce));
  if (!growing) return std::unexpected(growing.error());
  std::vector<Output> used;
  for (const std::uint32_t part : upload.parts) {
    Output& output = used.emplace_back();
    output.file_key = links.file_key(upload.nonce, part);
    output.file_name = kUploadPartName;
    const Result<void> appended = append_part(**growing, store, output.file_key, part);
    if (!appended) return std::unexpected(appended.error());
  }
  auto whole = (*growing)->finish();
  if (whole) store.remove(used);
  return whole;
}

}  // namespace quern::api
