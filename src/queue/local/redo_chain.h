#pragma once
// The records of a redo log's file, read: redo_log.h says what they are.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

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
  RedoHeader header;
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
  /// The record at `place`, if the whole of it stands there.
  Result<std::optional<RedoFound>> find(const RedoPlace& place);
  /// Where whole records go on behind `place`, where none is: nowhere, if that is the end. They are told by their
  /// checksums, for which one of them must be read, with the one before it or that of the damaged one: of damage that
  /// leaves but one record behind it without both, nothing is seen.
  Result<std::optional<RedoPlace>> find_later(const RedoPlace& place);

 private:
  Result<RedoHeader> read_header(std::uint64_t at);
  [[nodiscard]] bool has_room(const RedoHeader& header, std::uint64_t at) const;
  Result<std::optional<std::uint64_t>> find_magic(std::uint64_t from);
  Result<std::vector<std::uint64_t>> read_checksums(const RedoPlace& damaged);
  Result<std::optional<RedoPlace>> find_later_at(const RedoPlace& damage, std::uint64_t at,
                                                 std::span<const std::uint64_t> befores,
                                                 std::uint64_t& budget);

  const RedoFile& file_;
  std::string piece_;
  std::uint64_t piece_at_ = 0;
};

/// Records that were there and are damaged: whole ones follow.
struct RedoGap {
  RedoPlace begin;  // of number 0 at the start of a file
  RedoPlace end;    // a whole record
};

/// The records of a file, from its start until the first that does not go on from the one before, though not where whole
/// ones follow later.
struct RedoChain {
  std::uint64_t first = 0;    // number of the first whole one, 0: there is none
  std::uint64_t last_at = 0;  // where the last begins
  RedoPlace next;
  std::vector<RedoGap> gaps;  // in their order

  [[nodiscard]] std::uint64_t last() const { return first == 0 ? 0 : next.number - 1; }
};

Result<RedoChain> find_redo_chain(RedoReader& reader, std::uint64_t seed);

/// What failed for the reason `error` (an errno), as `unavailable`: "<what>: the disk is full".
Error redo_error(int error, std::string_view what);

}  // namespace quern
