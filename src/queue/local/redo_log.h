#pragma once
// What survives first: a log of records in two files, used in turn, beside the store's tables.
//
// A record is appended and synced before anybody hears of it, and is needed until its content is
// durable in the tables. Then the file that holds it may begin anew: once the file in use is full and
// all records of the other are released, the other is written from its start. So neither is made
// longer for ever, and a record takes the place of old bytes, which is synced in half the time that
// new ones take; a file is made longer ahead of time, by zeros.
//
// A file is records, one behind the other: a header (magic, length, number, a checksum of all that
// and the content) and the content. Numbers ascend by one from record to record, across files too,
// and each checksum is seeded by the one before it in the file; so what an earlier use of the file
// left behind the last record is told from a record, whatever it is. Damage is told from the log's end
// where whole records follow it, in this file or the other: two of them, or one and a header that has
// kept its checksum.
//
// Limits: a file grows past `file_bytes` while the other is still needed, and by a record that is
// larger; on its next use one of more than twice what the other has come to is cut back to that.
// Threads: release() and is_full() from any; the rest from one at a time.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string_view>

#include "base/result.h"

namespace quern {

struct RedoLogOptions {
  std::filesystem::path folder;  // exists; the files are `redo-a` and `redo-b`
  std::uint64_t seed = 0;        // of the checksums: records of another store are none of this one
  std::size_t file_bytes = 8 * 1024 * 1024;
};

class RedoLog {
 public:
  /// Errors: unavailable (a file that is there cannot be opened).
  static Result<std::unique_ptr<RedoLog>> open(const RedoLogOptions& options);
  ~RedoLog();
  RedoLog(const RedoLog&) = delete;
  RedoLog& operator=(const RedoLog&) = delete;

  using Record = std::function<Result<void>(std::uint64_t number, std::string_view content)>;
  /// Once, before the first append: calls `record` for each whole record after number `after`, in
  /// their order, until the first that is missing or torn: that is the log's end, and appending goes
  /// on from there (with number `after` + 1 where there is none). All up to `after` is released: no
  /// append may come before that much is durable. Makes the files, readable by their owner only, if
  /// neither is there. What they have is synced before the first append, which fails while that does.
  ///
  /// Errors: unavailable (cannot be read or made), what `record` answers, and data_loss for what no
  /// crash leaves: the first record after `after` is missing or damaged though later ones are there, or
  /// ones in between are; the log has records, but ends before `after`; one of the files is missing
  /// that may have held what is needed. Then nothing is changed. Both files missing, or without any
  /// record, are a new log.
  Result<void> replay(std::uint64_t after, const Record& record);

  /// Appends a record, syncs it, and answers its number. One that fails is not there: no later
  /// replay sees it, but for a power cut that the system's failed sync has left to chance; the next
  /// one takes its number and its place. Errors: unavailable (full, read-only or failing disk).
  Result<std::uint64_t> append(std::string_view content);

  /// Records up to `number` are not needed any more: they are durable elsewhere.
  void release(std::uint64_t number);
  /// The file in use is full and the other still holds records that are not released.
  [[nodiscard]] bool is_full() const;

  /// Tests only: appends fail as on a full disk.
  void set_disk_full(bool full);

 private:
  struct Impl;
  explicit RedoLog(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quern
