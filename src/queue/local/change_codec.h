#pragma once
// The changes of a transaction as bytes, in the order in which they were made: the content of a
// record of the redo log.
//
// Each is a byte that says which it is, then its fields: numbers as variable-length integers (LEB128,
// signed ones zigzag), ids and ranks as fixed eight or sixteen bytes (little-endian), texts with their
// length before them, optional fields behind a byte. Most of a life fits on a page of a disk. Each
// value has one form. A later version may have to read them: a kind whose fields change is a new kind.

#include <string>
#include <string_view>

#include "base/result.h"
#include "queue/local/store_change.h"

namespace quern {

/// Appends one change.
void encode_change(const StoreChange& change, std::string& bytes);

/// Takes apart what encode_change() has put together. Foreign bytes are read with all caution,
/// though a record has a checksum.
class ChangeReader {
 public:
  /// `bytes` outlives the reader and the changes.
  explicit ChangeReader(std::string_view bytes) : rest_(bytes) {}

  [[nodiscard]] bool is_at_end() const { return rest_.empty(); }
  /// The next one; not at the end. Errors: data_loss, after which the reader is of no more use.
  Result<StoreChange> next();

 private:
  std::string_view rest_;
};

}  // namespace quern
