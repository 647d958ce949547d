#pragma once
// The records of a redo log's file, read: redo_log.h says what they are.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/result.h"

namespace quern {

/// Little-endian, as it stands in the file.
struct RedoHeader {
  static constexpr std::uint32_t kMagic = 0x4f444552;  // the bytes spell "REDO"

  std::uint32_t magic = 0;
  std::uint32_t length = 0;  // of the content, which stands right behind
  std::uint64_t number = 0;
  std::uint64_t checksum = 0;  // XXH3 of all that and the content, seeded by its place
};
static_assert(sizeof(RedoHeader) == 24 && std::has_unique_object_representations_v<RedoHeader>);

std::string_view bytes_of(const RedoHeader& header);

/// Where a record stands or will, and what it must be to go on from the one before it.
struct RedoPlace {
  std::uint64_t at = 0;
  std::uint64_t number = 0;  // where it is read at the start of a file: any
  std::uint64_t seed = 0;    // of the store
  std::uint64_t before = 0;  // the checksum of the record before it in the file, 0: none

  [[nodiscard]] RedoPlace behind(const RedoHeader& header) const {
    return {.at = at + sizeof(RedoHeader) + header.length,
            .number = header.number + 1,
            .seed = seed,
            .before = header.checksum};
  }
};

/// The header of a record at `place`; the content is below 4 GiB.
RedoHeader make_redo_header(const RedoPlace& place, std::string_view content);

/// Owned by the log.
struct RedoFile {
  int fd = -1;
  std::uint64_t size = 0;
};

struct RedoFound {
  enum class Kind : std::uint8_t {
    nothing,
    torn,  // a header that belongs there, but another content or checksum
    whole,
  };
  Kind kind = Kind::nothing;
  RedoHeader header;         // unless nothing
  std::string_view content;  // until the reader reads on
};

/// Reads in large pieces. Limits: its memory is that of the largest record, or kPieceBytes.
/// Errors: unavailable.
class RedoReader {
 public:
  static constexpr std::uint64_t kPieceBytes = 256 * 1024;

  /// `file` outlives it.
  explicit RedoReader(const RedoFile& file) : file_(file) {}

  /// `at` + `bytes` is within the file; what is answered lives until the next call.
  Result<std::string_view> read(std::uint64_t at, std::uint64_t bytes);
  /// What stands at `place`, which may be anything.
  Result<RedoFound> find(const RedoPlace& place);

 private:
  const RedoFile& file_;
  std::string piece_;
  std::uint64_t piece_at_ = 0;
};

/// The records of a file, from its start until the first that does not go on from the one before.
struct RedoChain {
  std::uint64_t first = 0;    // number, 0: there is none
  std::uint64_t last_at = 0;  // where the last begins
  RedoPlace next;

  [[nodiscard]] std::uint64_t last() const { return first == 0 ? 0 : next.number - 1; }
};

/// A record in it may be torn, though not the last: it was whole once, and was damaged later.
Result<RedoChain> find_redo_chain(RedoReader& reader, std::uint64_t seed);

/// What failed for the reason `error` (an errno), as `unavailable`: "<what>: the disk is full".
Error redo_error(int error, std::string_view what);

}  // namespace quern
