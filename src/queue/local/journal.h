#pragma once
// What survives: the embedded store. A transaction is durable once it is in the redo log, by one
// write and one sync (redo_log.h); the tables follow (table_writer.h).
//
// A transaction is any number of add(), then commit(). A commit that answered success
// survives kill -9 and power loss; one that failed has no effect, after a crash either.
// Lookups see what is committed, whether it has reached the tables or not. Readers with connections
// of their own (journal_reader.h) see the tables: settle() first.
// Threads: one at a time (the commit thread), but where a function says otherwise.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "queue/core.h"
#include "queue/local/journal_rows.h"
#include "queue/local/queue_metrics.h"
#include "queue/local/store_change.h"

namespace quern {

struct JournalOptions {
  std::filesystem::path folder;             // exists, and holds a store or nothing
  std::size_t checkpoint_pages = 1'500;     // of 4 KiB, in SQLite's write-ahead log
  std::size_t log_bytes = 8 * 1024 * 1024;  // of each of the redo log's two files
  TableTimes times{};
};

class Journal {
 public:
  /// Makes a store where there is none; else leaves it as it is, but for tables of an older version.
  /// Errors: unavailable (cannot be opened), data_loss (damaged, or lost but for its logs), conflict
  /// (made by a newer version).
  static Result<std::unique_ptr<Journal>> open(const JournalOptions& options);
  /// Writes what is left into the tables, if the recovery was ended.
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // -- recovery: before the first commit
  /// Names by their index, without gaps. Errors: data_loss (a number that is no name's).
  Result<std::vector<std::string>> key_names();
  Result<std::vector<StoredModel>> model_names();
  /// The highest sequence that was ever stored and is still known; 0 for none.
  Result<std::int64_t> last_sequence();
  /// No lease token above this one was ever given out.
  Result<std::uint64_t> reserved_lease_tokens();
  using LiveRow = std::function<void(const TaskRow& row, std::optional<WallTime> started)>;
  /// Every queued and running task, in the order of submission. Errors: data_loss (a row that no queue
  /// has written).
  Result<void> for_each_live(const LiveRow& row);
  /// What a crash left in the redo log goes into the tables from now on. A commit or settle() ends the recovery, too.
  void end_recovery();

  // -- one transaction
  void add(const StoreChange& change);
  /// An empty one is the smallest write there is, to see whether the store takes any.
  Result<void> commit();

  // -- lookups
  Result<std::optional<IdempotencyRecord>> find_idempotency(KeyIndex key, std::string_view name);
  /// Of a live task. Errors: not_found.
  Result<std::string> input(const TaskId& id);
  /// As input() for each of them, in their order; those of neighbours are read together.
  std::vector<Result<std::string>> inputs(std::span<const TaskId> ids);
  Result<std::optional<EndedTask>> find_ended(const TaskId& id);
  /// As find_ended(), without its result, which may be large.
  Result<std::optional<TaskRow>> find_ended_row(const TaskId& id);
  /// Of a running task, the oldest first.
  Result<std::vector<NumberedLog>> logs(const TaskId& id);
  /// Tasks that ended before `ended_before`, about the oldest first, at most `count_max`; fewer
  /// where their results are large.
  Result<ExpiredTasks> expired(WallTime ended_before, std::size_t count_max);
  /// No ended task is older; it may be one that is gone already. Nothing: there is none.
  Result<std::optional<WallTime>> oldest_ended();
  /// About the oldest: of the first that were made, and of some more, others at each call. Nothing: there is none, or
  /// some are being forgotten.
  Result<std::optional<WallTime>> oldest_idempotency();
  /// The tables have records that are forgotten already.
  [[nodiscard]] bool is_forgetting_idempotency() const;

  // -- the tables
  /// Any thread. Returns once the tables have whatever was committed before the call; of one task,
  /// at once if they have that already. Errors: unavailable (the tables cannot be written).
  Result<void> settle();
  Result<void> settle(const TaskId& id);
  /// Any thread. Why the tables cannot be written, and so no commit succeeds; nothing: they can.
  [[nodiscard]] std::optional<Error> failure() const;
  /// Memory of the tables' cache of pages.
  [[nodiscard]] std::size_t cache_bytes() const;

  /// Tests only: commits fail as on a full disk.
  void set_disk_full(bool full);

 private:
  struct Impl;
  explicit Journal(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quern
