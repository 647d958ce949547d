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
constexpr std::uint64_t kLaterBytesMax =
    256U << 20U;  // whose checksums are made in a look for later records

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

Result<std::optional<RedoFound>> RedoReader::find(const RedoPlace& place) {
  if (place.at + sizeof(RedoHeader) > file_.size) return std::nullopt;
  Result<RedoHeader> header = read_header(place.at);
  if (!header) return fail(std::move(header));
  const bool belongs = place.at == 0 ? header->number != 0 : header->number == place.number;
  if (!belongs || !has_room(*header, place.at)) return std::nullopt;
  const auto bytes = read(place.at, sizeof(RedoHeader) + header->length);
  if (!bytes) return std::unexpected(bytes.error());
  const RedoFound found{*header, bytes->substr(sizeof(RedoHeader))};
  if (checksum_of(place, *header, found.content) != header->checksum) return std::nullopt;
  return found;
}

Result<RedoHeader> RedoReader::read_header(std::uint64_t at) {
  const auto bytes = read(at, sizeof(RedoHeader));
  if (!bytes) return std::unexpected(bytes.error());
  RedoHeader header;
  std::memcpy(&header, bytes->data(), sizeof(RedoHeader));
  return header;
}

bool RedoReader::has_room(const RedoHeader& header, std::uint64_t at) const {
  return header.magic == RedoHeader::kMagic &&
         header.length <= file_.size - at - sizeof(RedoHeader);
}

// What stands here may be the bytes of a caller who would like to be taken for a record, or to be looked at for long.
Result<std::optional<RedoPlace>> RedoReader::find_later(const RedoPlace& place) {
  if (place.at + sizeof(RedoHeader) > file_.size) return std::nullopt;
  const auto befores = read_checksums(place);
  if (!befores) return std::unexpected(befores.error());
  std::uint64_t budget = kLaterBytesMax;
  for (std::uint64_t from = place.at;;) {
    const auto at = find_magic(from);
    if (!at) return std::unexpected(at.error());
    if (!*at) return std::nullopt;
    const auto later = find_later_at(place, **at, *befores, budget);
    if (!later || *later) return later;
    from = **at + 1;
  }
}

// What the checksum of the damaged record may have been: the one in its header, and that of what it is now, if it was
// the checksum that was damaged.
Result<std::vector<std::uint64_t>> RedoReader::read_checksums(const RedoPlace& damaged) {
  const auto header = read_header(damaged.at);
  if (!header) return std::unexpected(header.error());
  std::vector<std::uint64_t> checksums{header->checksum};
  if (has_room(*header, damaged.at)) {
    const auto bytes = read(damaged.at, sizeof(RedoHeader) + header->length);
    if (!bytes) return std::unexpected(bytes.error());
    checksums.push_back(checksum_of(damaged, *header, bytes->substr(sizeof(RedoHeader))));
  }
  return checksums;
}

Result<std::optional<std::uint64_t>> RedoReader::find_magic(std::uint64_t from) {
  constexpr std::uint32_t kMagic = RedoHeader::kMagic;
  while (from + sizeof(RedoHeader) <= file_.size) {
    const std::uint64_t size = std::min(file_.size - from, kPieceBytes);
    const auto piece = read(from, size);
    if (!piece) return std::unexpected(piece.error());
    const void* found = ::memmem(piece->data(), size, &kMagic, sizeof(kMagic));
    if (found != nullptr) {
      return from + static_cast<std::uint64_t>(static_cast<const char*>(found) - piece->data());
    }
    from += size - sizeof(kMagic) + 1;
  }
  return std::nullopt;
}

// A record at `at`, if it is the one behind the damaged one; or the one behind it, if that is one. An earlier use of the
// file has left only lower numbers.
Result<std::optional<RedoPlace>> RedoReader::find_later_at(const RedoPlace& damage,
                                                           std::uint64_t at,
                                                           std::span<const std::uint64_t> befores,
                                                           std::uint64_t& budget) {
  if (at + sizeof(RedoHeader) > file_.size) return std::nullopt;
  const auto header = read_header(at);
  if (!header) return std::unexpected(header.error());
  const std::uint64_t between = (at - damage.at) / sizeof(RedoHeader);
  const bool is_later =
      damage.at == 0 ? header->number != 0
                     : header->number >= damage.number && header->number - damage.number <= between;
  if (!is_later || !has_room(*header, at)) return std::nullopt;
  std::vector<RedoPlace> places;
  for (const std::uint64_t before : befores)
    places.push_back({at, header->number, damage.seed, before});
  places.push_back(places.front().behind(*header));
  for (const RedoPlace& place : places) {
    if (place.at == damage.at || place.at + sizeof(RedoHeader) > file_.size) continue;
    const auto next = read_header(place.at);
    if (!next) return std::unexpected(next.error());
    if (!has_room(*next, place.at) || next->length > budget) continue;
    budget -= next->length;
    const auto found = find(place);
    if (!found) return std::unexpected(found.error());
    if (*found) return place;
  }
  return std::nullopt;
}

// Nothing is written behind a record before that is whole. So what is no record is the end, torn when the power failed,
// unless whole ones follow: then it was damaged later, which is a loss, unless it is not needed any more.
Result<RedoChain> find_redo_chain(RedoReader& reader, std::uint64_t seed) {
  RedoChain chain{.next = {.seed = seed}};
  for (;;) {
    const auto found = reader.find(chain.next);
    if (!found) return std::unexpected(found.error());
    if (*found) {
      if (chain.first == 0) chain.first = (*found)->header.number;
      chain.last_at = chain.next.at;
      chain.next = chain.next.behind((*found)->header);
      continue;
    }
    const auto later = reader.find_later(chain.next);
    if (!later) return std::unexpected(later.error());
    if (!*later) return chain;
    chain.gaps.push_back({chain.next, **later});
    chain.next = **later;
  }
}

Error redo_error(int error, std::string_view what) {
  std::string message(what);
  message += ": ";
  message += meaning_of(error);
  return {ErrorCode::unavailable, std::move(message), kRetryAfter};
}

}  // namespace quern
