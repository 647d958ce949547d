#pragma once
// Committed changes that the tables do not have yet: what they come to, task by task.
//
// The redo log's records are merged one after the other, so a task that was created, started and
// ended meanwhile is one row to be written, not five. The same after a crash as without one.
// Threads: one at a time; any number while nobody merges.

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "queue/local/store_change.h"

namespace quern {

/// What the changes of one task come to.
struct PendingTask {
  /// Where the tables have it, as they are now.
  enum class Stored : std::uint8_t { no, live, ended };

  explicit PendingTask(Stored its_stored) : stored(its_stored) {}

  Stored stored;
  bool is_removed = false;            // forgotten: nothing else counts
  std::optional<TaskRow> row{};       // of a live task, where it has changed
  std::optional<WallTime> started{};  // of its running attempt
  const EndTask* end = nullptr;       // of a task that has ended; it is large, and most have none
  std::string_view input{};           // of one that is not stored
  std::vector<AttemptRecord> attempts{};
  std::vector<InsertLog> logs{};
  std::uint64_t first_log = 0;  // those before it are forgotten

  /// Its row is the one in the tables; it has more logs or attempts.
  [[nodiscard]] bool is_as_stored() const { return !is_removed && !row && !end; }
};

class Pending {
 public:
  Pending() = default;
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;

  /// Takes in a transaction, the content of a record of the redo log. Errors: data_loss, after which
  /// the object is of no more use.
  Result<void> merge(std::string_view record);

  /// No transaction was merged, not even one without changes.
  [[nodiscard]] bool is_empty() const { return records_ == 0; }
  /// Of the records that were merged.
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] std::size_t changes() const { return changes_; }

  /// Null: its tables are up to date.
  [[nodiscard]] const PendingTask* find(const TaskId& id) const;
  [[nodiscard]] const IdempotencyRecord* find_idempotency(KeyIndex key,
                                                          std::string_view name) const;
  /// No task here ended before this; nothing: none ended.
  [[nodiscard]] std::optional<WallTime> first_end() const { return first_end_; }

  using Tasks = std::pmr::unordered_map<std::int64_t, PendingTask>;  // by sequence
  using Idempotency = std::unordered_map<std::string, InsertIdempotency>;
  [[nodiscard]] const Tasks& tasks() const { return tasks_; }
  [[nodiscard]] const Idempotency& idempotency() const { return idempotency_; }
  [[nodiscard]] const std::optional<RemoveIdempotency>& removed_idempotency() const {
    return removed_idempotency_;
  }
  /// In the order in which they were made.
  [[nodiscard]] const std::vector<InsertKey>& keys() const { return keys_; }
  [[nodiscard]] const std::vector<InsertModel>& models() const { return models_; }
  [[nodiscard]] const std::vector<SetPaused>& pauses() const { return pauses_; }
  [[nodiscard]] std::optional<std::uint64_t> lease_tokens() const { return lease_tokens_; }

 private:
  void take(const InsertKey& change) { keys_.push_back(change); }
  void take(const InsertModel& change) { models_.push_back(change); }
  void take(const SetPaused& change) { pauses_.push_back(change); }
  void take(const InsertTask& change);
  void take(const UpdateTask& change);
  void take(const EndTask& change);
  void take(const ReviveTask& change);
  void take(const InsertAttempt& change);
  void take(const InsertLog& change);
  void take(const DropLogs& change);
  void take(const InsertIdempotency& change);
  void take(const RemoveIdempotency& change);
  void take(const RemoveEnded& change);
  void take(const ReserveLeaseTokens& change) { lease_tokens_ = change.up_to; }
  /// A copy that lives as long as all of this.
  const EndTask* keep(const EndTask& change);
  /// The entry of a task, made if need be for one that the tables have as `stored`.
  PendingTask& task(std::int64_t sequence, PendingTask::Stored stored);

  static constexpr std::size_t kFirstBytes = 16 * 1024;

  // Of the records, which all views point into, of the tasks and their ends: all of it only grows.
  std::pmr::monotonic_buffer_resource memory_{kFirstBytes};
  std::size_t records_ = 0;
  std::size_t bytes_ = 0;
  std::size_t changes_ = 0;
  Tasks tasks_{&memory_};
  Idempotency idempotency_;
  std::optional<RemoveIdempotency> removed_idempotency_;
  std::vector<InsertKey> keys_;
  std::vector<InsertModel> models_;
  std::vector<SetPaused> pauses_;
  std::optional<std::uint64_t> lease_tokens_;
  std::optional<WallTime> first_end_;
};

}  // namespace quern
