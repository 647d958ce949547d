#pragma once
// What the commit thread reads in the tables, over a connection of its own.
//
// The tables may be behind what is committed: journal.h adds the rest. Threads: one at a time.

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
#include "queue/local/journal_rows.h"

namespace quern {

/// How the tables stand to the redo log.
struct LogPosition {
  std::uint64_t seed = 0;     // of this store's log alone
  std::uint64_t applied = 0;  // number of the last record that is in the tables
};

class TableLookups {
 public:
  static Result<std::unique_ptr<TableLookups>> open(const std::filesystem::path& file);
  ~TableLookups();
  TableLookups(const TableLookups&) = delete;
  TableLookups& operator=(const TableLookups&) = delete;

  // -- recovery
  /// Errors: data_loss (the tables do not say it any more).
  Result<LogPosition> log_position();
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

  // -- lookups
  Result<std::optional<IdempotencyRecord>> find_idempotency(KeyIndex key, std::string_view name);
  /// Of a live task. Errors: not_found.
  Result<std::string> input(const TaskId& id);
  /// As input() for each of them, in their order; those of neighbours are read together.
  std::vector<Result<std::string>> inputs(std::span<const TaskId> ids);
  Result<std::optional<EndedTask>> find_ended(const TaskId& id);
  /// Reads nothing of its result.
  Result<std::optional<TaskRow>> find_ended_row(const TaskId& id);
  Result<std::vector<NumberedLog>> logs(const TaskId& id);
  using Skip = std::function<bool(const TaskId& id)>;
  /// Tasks that ended before `ended_before`, the oldest first, until it is full. Reads no result of
  /// those that are to be skipped.
  Result<ExpiredTasks> expired(WallTime ended_before, std::size_t count_max, const Skip& skip);
  Result<std::optional<WallTime>> oldest_ended();
  /// Of the first that were made, and of some more, others at each call: those of a clock that was
  /// ahead may be the first for long.
  Result<std::optional<WallTime>> oldest_idempotency();

 private:
  struct Impl;
  explicit TableLookups(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quern
