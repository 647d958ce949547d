#include "api/upload_parts.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
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

Output part_file(const UploadLinks& links, const UploadInParts& upload, std::uint32_t part) {
  Output file;
  file.file_key = links.file_key(upload.nonce, part);
  file.file_name = kUploadPartName;
  return file;
}

// What is there of an upload.
struct Found {
  std::vector<Output> parts;
  WallTime newest_part;
  std::optional<Output> whole;
  WallTime whole_modified;
};

Result<Found> find_files(const ArtifactStore& store, const UploadLinks& links,
                         const UploadInParts& upload) {
  Found found;
  for (const std::uint32_t part : upload.parts) {
    Output file = part_file(links, upload, part);
    const auto opened = store.open_file(file.file_key, file.file_name);
    if (!opened && is_missing(opened.error())) continue;
    if (!opened) return std::unexpected(opened.error());
    const FileDescriptor closed_at_the_end(opened->fd);
    found.newest_part = std::max(found.newest_part, opened->modified);
    found.parts.push_back(std::move(file));
  }
  Output whole;
  whole.file_key = links.file_key(upload.nonce);
  whole.file_name = safe_file_name(upload.name);
  auto opened = store.open_file(whole.file_key, whole.file_name);
  if (!opened && is_missing(opened.error())) return found;
  if (!opened) return std::unexpected(opened.error());
  const FileDescriptor closed_at_the_end(opened->fd);
  whole.content_type = std::move(opened->content_type);
  whole.file_bytes = opened->bytes;
  found.whole = std::move(whole);
  found.whole_modified = opened->modified;
  return found;
}

// Its parts went into it already, and a caller whose answer was lost asks again. A crash may have left some of them.
bool is_assembled(const Found& found, const UploadInParts& upload) {
  return found.whole && found.parts.size() < upload.parts.size() &&
         (found.parts.empty() || found.whole_modified >= found.newest_part);
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

UploadSizes::Growing::~Growing() {
  if (!sizes_) return;
  const std::scoped_lock lock(sizes_->mutex);
  sizes_->sum -= bytes_;
}

std::uint64_t UploadSizes::Sizes::room_beside(std::uint64_t own) const {
  return std::min(whole_max - own, 2 * whole_max - sum);
}

std::uint64_t UploadSizes::Growing::room() const {
  const std::scoped_lock lock(sizes_->mutex);
  return sizes_->room_beside(bytes_);
}

bool UploadSizes::Growing::grow(std::uint64_t bytes) {
  const std::scoped_lock lock(sizes_->mutex);
  if (bytes > sizes_->room_beside(bytes_)) return false;
  sizes_->sum += bytes;
  bytes_ += bytes;
  return true;
}

// Of two that are stored at once nobody knows which has stayed, so the larger counts.
void UploadSizes::Growing::keep() {
  const std::shared_ptr<Sizes> sizes = std::exchange(sizes_, nullptr);
  const std::scoped_lock lock(sizes->mutex);
  std::uint64_t& stored = sizes->stored[part_];
  sizes->sum -= std::min(stored, bytes_);
  stored = std::max(stored, bytes_);
}

UploadSizes::Growing UploadSizes::begin(const std::string& nonce, std::uint32_t part,
                                        SteadyTime now) {
  const std::scoped_lock lock(mutex_);
  for (; !begun_.empty() && now - begun_.front().first > kept_; begun_.pop_front())
    uploads_.erase(begun_.front().second);
  std::shared_ptr<Sizes>& sizes = uploads_[nonce];
  if (!sizes) {
    sizes = std::make_shared<Sizes>(whole_max_);
    begun_.emplace_back(now, nonce);
  }
  return {sizes, part};
}

void UploadSizes::forget(const std::string& nonce, std::span<const std::uint32_t> parts) {
  const std::shared_ptr<Sizes> sizes = [&] {
    const std::scoped_lock lock(mutex_);
    const auto found = uploads_.find(nonce);
    return found == uploads_.end() ? nullptr : found->second;
  }();
  if (!sizes) return;
  const std::scoped_lock lock(sizes->mutex);
  for (const std::uint32_t part : parts) {
    const auto gone = sizes->stored.extract(part);
    if (gone) sizes->sum -= gone.mapped();
  }
}

Result<Output> UploadAssembler::assemble(const UploadInParts& upload, std::uint64_t bytes_max) {
  const std::scoped_lock turn(turns_[std::hash<std::string>()(upload.nonce) % turns_.size()]);
  auto found = find_files(store_, links_, upload);
  if (!found) return std::unexpected(found.error());
  if (is_assembled(*found, upload)) {
    sizes_.forget(upload.nonce, upload.parts);
    store_.remove(found->parts);
    return *std::move(found->whole);
  }
  auto growing = store_.start_upload(upload.name, bytes_max, links_.file_key(upload.nonce));
  if (!growing) return std::unexpected(growing.error());
  std::vector<Output> used;
  for (const std::uint32_t part : upload.parts) {
    const Output& file = used.emplace_back(part_file(links_, upload, part));
    const Result<void> appended = append_part(**growing, store_, file.file_key, part);
    if (!appended) return std::unexpected(appended.error());
  }
  auto whole = (*growing)->finish();
  if (!whole) return whole;
  sizes_.forget(upload.nonce, upload.parts);
  store_.remove(used);
  return whole;
}

}  // namespace quern::api
