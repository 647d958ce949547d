#include "queue/local/redo_chain.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace quern {
namespace {

static_assert(std::endian::native == std::endian::little, "headers are written as they are");

constexpr std::chrono::milliseconds kRetryAfter{1'000};

// The seed makes a record whole only in its store, and behind the very one that it was written
// behind. So what an earlier use of the file left behind the last record is not taken for the next
// one even if it is the text of a caller who would like that.
std::uint64_t checksum_of(const RedoPlace& place, const RedoHeader& header,
                          std::string_view content) {
  const std::uint64_t seed =
      XXH3_64bits_withSeed(&header, offsetof(RedoHeader, checksum), place.seed ^ place.before);
  return XXH3_64bits_withSeed(content.data(), content.size(), seed);
}

/// Answers an errno, 0 is success.
int read_all(int fd, std::string& bytes, std::uint64_t at) {
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t read =
        ::pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(at + done));
    if (read < 0 && errno == EINTR) continue;
    if (read <= 0) return read < 0 ? errno : EIO;  // shorter than it was
    done += static_cast<std::size_t>(read);
  }
  return 0;
}

std::string_view meaning_of(int error) {
  if (error == ENOSPC || error == EDQUOT) return "the disk is full";
  if (error == EROFS) return "the store is read-only";
  return std::strerror(error);
}

}  // namespace

std::string_view bytes_of(const RedoHeader& header) {
  return {reinterpret_cast<const char*>(&header), sizeof(RedoHeader)};
}

RedoHeader make_redo_header(const RedoPlace& place, std::string_view content) {
  RedoHeader header{.magic = RedoHeader::kMagic,
                    .length = static_cast<std::uint32_t>(content.size()),
                    .number = place.number};
  header.checksum = checksum_of(place, header, content);
  return header;
}

Result<std::string_view> RedoReader::read(std::uint64_t at, std::uint64_t bytes) {
  if (at < piece_at_ || at + bytes > piece_at_ + piece_.size()) {
    piece_.resize(std::min(file_.size - at, std::max(bytes, kPieceBytes)));
    piece_at_ = at;
    if (const int error = read_all(file_.fd, piece_, at); error != 0) {
      piece_.clear();
      return std::unexpected(redo_error(error, "the store cannot be read"));
    }
  }
  return std::string_view(piece_).substr(at - piece_at_, bytes);
}

Result<RedoFound> RedoReader::find(const RedoPlace& place) {
  if (place.at + sizeof(RedoHeader) > file_.size) return RedoFound{};
  Result<std::string_view> bytes = read(place.at, sizeof(RedoHeader));
  if (!bytes) return fail(std::move(bytes));
  RedoFound found;
  std::memcpy(&found.header, bytes->data(), sizeof(RedoHeader));
  const RedoHeader& header = found.header;
  const bool belongs = place.at == 0 ? header.number != 0 : header.number == place.number;
  const std::uint64_t room = file_.size - place.at - sizeof(RedoHeader);
  if (header.magic != RedoHeader::kMagic || !belongs || header.length > room) return found;
  bytes = read(place.at, sizeof(RedoHeader) + header.length);
  if (!bytes) return fail(std::move(bytes));
  found.content = bytes->substr(sizeof(RedoHeader));
  const bool is_whole = checksum_of(place, header, found.content) == header.checksum;
  found.kind = is_whole ? RedoFound::Kind::whole : RedoFound::Kind::torn;
  return found;
}

// A torn record is the end: it was the last one, not synced, when the power failed. One that is
// followed by a whole one was whole, since only then the next is written: what is in it was
// damaged later, which is no end but a loss, unless it is not needed any more.
Result<RedoChain> find_redo_chain(RedoReader& reader, std::uint64_t seed) {
  RedoChain chain{.next = {.seed = seed}};
  for (;;) {
    Result<RedoFound> found = reader.find(chain.next);
    if (!found) return fail(std::move(found));
    if (found->kind == RedoFound::Kind::nothing) return chain;
    const RedoPlace behind = chain.next.behind(found->header);
    if (found->kind == RedoFound::Kind::torn) {
      Result<RedoFound> later = reader.find(behind);
      if (!later) return fail(std::move(later));
      if (later->kind != RedoFound::Kind::whole) return chain;
    }
    if (chain.first == 0) chain.first = found->header.number;
    chain.last_at = chain.next.at;
    chain.next = behind;
  }
}

Error redo_error(int error, std::string_view what) {
  std::string message(what);
  message += ": ";
  message += meaning_of(error);
  return {ErrorCode::unavailable, std::move(message), kRetryAfter};
}

}  // namespace quern
