#include "api/upload_parts.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <utility>

#include "api/call.h"
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

std::unexpected<Error> not_uploaded(std::uint32_t part) {
  return fail(ErrorCode::invalid_argument, fmt::format("Part {} was not uploaded", part));
}

// What is there of an upload.
struct Found {
  std::vector<Output> parts;
  std::uint64_t part_bytes = 0;
  std::optional<std::uint32_t> missing;  // the first part that is not there
  WallTime newest_part;
  std::optional<Output> whole;
  WallTime whole_modified;
};

Result<void> find_whole(const ArtifactStore& store, const UploadLinks& links,
                        const UploadInParts& upload, Found& found) {
  Output whole;
  whole.file_key = links.file_key(upload.nonce);
  whole.file_name = safe_file_name(upload.name);
  auto opened = store.open_file(whole.file_key, whole.file_name);
  if (!opened && is_missing(opened.error())) return {};
  if (!opened) return std::unexpected(opened.error());
  const FileDescriptor closed_at_the_end(opened->fd);
  whole.content_type = std::move(opened->content_type);
  whole.file_bytes = opened->bytes;
  found.whole = std::move(whole);
  found.whole_modified = opened->modified;
  return {};
}

// Only where there is a whole do the parts behind a missing one matter.
Result<void> find_parts(const ArtifactStore& store, const UploadLinks& links,
                        const UploadInParts& upload, Found& found) {
  for (const std::uint32_t part : upload.parts) {
    Output file = part_file(links, upload, part);
    const auto opened = store.open_file(file.file_key, file.file_name);
    if (!opened && is_missing(opened.error())) {
      if (!found.missing) found.missing = part;
      if (!found.whole) return {};
      continue;
    }
    if (!opened) return std::unexpected(opened.error());
    const FileDescriptor closed_at_the_end(opened->fd);
    found.newest_part = std::max(found.newest_part, opened->modified);
    found.part_bytes += opened->bytes;
    found.parts.push_back(std::move(file));
  }
  return {};
}

Result<Found> find_files(const ArtifactStore& store, const UploadLinks& links,
                         const UploadInParts& upload) {
  Found found;
  if (auto done = find_whole(store, links, upload, found); !done) return fail(std::move(done));
  if (auto done = find_parts(store, links, upload, found); !done) return fail(std::move(done));
  return found;
}

// Its parts went into it already, and a caller whose answer was lost asks again. A crash may have left some of them.
bool is_assembled(const Found& found) {
  return found.whole && found.missing &&
         (found.parts.empty() || found.whole_modified >= found.newest_part);
}

Result<void> append_part(Upload& whole, const ArtifactStore& store, const std::string& key,
                         std::uint32_t part) {
  const auto file = store.open_file(key, kUploadPartName);
  if (!file && is_missing(file.error())) return not_uploaded(part);
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

void UploadAssembler::assemble(UploadInParts upload, std::uint64_t bytes_max, Done done) {
  const std::string nonce = upload.nonce;
  std::optional<Turn> turn(Turn{std::move(upload), bytes_max, std::move(done)});
  if (!begin(*turn)) return;
  for (; turn; turn = next(nonce))
    guard([&] { turn->done(make_whole(turn->upload, turn->bytes_max)); });
}

bool UploadAssembler::begin(Turn& turn) {
  {
    const std::scoped_lock lock(mutex_);
    const auto [upload, is_first] = waiting_.try_emplace(turn.upload.nonce);
    if (is_first) return true;
    if (upload->second.size() < kWaitingMax) {
      upload->second.push_back(std::move(turn));
      return false;
    }
  }
  turn.done(fail(ErrorCode::rate_limited, "too many ask for this upload at once"));
  return false;
}

std::optional<UploadAssembler::Turn> UploadAssembler::next(const std::string& nonce) {
  const std::scoped_lock lock(mutex_);
  const auto upload = waiting_.find(nonce);
  std::deque<Turn>& waiting = upload->second;
  if (waiting.empty()) {
    waiting_.erase(upload);
    return std::nullopt;
  }
  Turn turn = std::move(waiting.front());
  waiting.pop_front();
  return turn;
}

Result<Output> UploadAssembler::make_whole(const UploadInParts& upload, std::uint64_t bytes_max) {
  auto found = find_files(store_, links_, upload);
  if (!found) return std::unexpected(found.error());
  if (is_assembled(*found)) {
    sizes_.forget(upload.nonce, upload.parts);
    store_.remove(found->parts);
    return *std::move(found->whole);
  }
  // Before a byte is copied: this takes no key, so nobody may have gigabytes written by a small request.
  if (found->missing) return not_uploaded(*found->missing);
  if (found->part_bytes > bytes_max)
    return fail(ErrorCode::too_large, fmt::format("file larger than {} bytes", bytes_max));
  auto growing = store_.start_upload(upload.name, bytes_max, links_.file_key(upload.nonce));
  if (!growing) return std::unexpected(growing.error());
  for (std::size_t i = 0; i < upload.parts.size(); ++i) {
    const Result<void> appended =
        append_part(**growing, store_, found->parts[i].file_key, upload.parts[i]);
    if (!appended) return std::unexpected(appended.error());
  }
  auto whole = (*growing)->finish();
  if (!whole) return whole;
  sizes_.forget(upload.nonce, upload.parts);
  store_.remove(found->parts);
  return whole;
}

}  // namespace quern::api
