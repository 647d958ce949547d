#pragma once
// Committed changes that the tables do not have yet: what they come to, task by task.
//
// The redo log's records are merged one after the other, so a task that was created, started and
// ended meanwhile is one row to be written, not five. The same after a crash as without one.
// However much has gathered, no merge waits for it to be moved, and its end is no walk through it.
// Threads: one at a time; any number while nobody merges.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory_resource>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "queue/linear_hash.h"
#include "queue/local/page_memory.h"
#include "queue/local/store_change.h"

namespace quern {

/// What a task's changes beside its row come to.
struct PendingHistory {
  std::vector<AttemptRecord> attempts;
  std::vector<InsertLog> logs;
  std::uint64_t first_log = 0;  // those before it are forgotten
};

/// What the changes of one task come to.
struct PendingTask {
  /// Where the tables have it, as they are now.
  enum class Stored : std::uint8_t { no, live, ended };

  [[nodiscard]] std::uint64_t hash() const { return hash_of(sequence); }
  static std::uint64_t hash_of(std::int64_t sequence) {
    return (static_cast<std::uint64_t>(sequence) * 0x9e3779b97f4a7c15ULL) >> 32U;
  }
  /// Its row is the one in the tables; it has more logs or attempts.
  [[nodiscard]] bool is_as_stored() const { return !is_removed && !row && !end; }

  std::int64_t sequence = 0;
  PoolIndex chain = kNoIndex;
  Stored stored = Stored::no;
  bool is_removed = false;            // forgotten: nothing else counts
  std::optional<TaskRow> row{};       // of a live task, where it has changed
  std::optional<WallTime> started{};  // of its running attempt
  // Most tasks have neither of these.
  const EndTask* end = nullptr;       // of a task that has ended
  PendingHistory* history = nullptr;  // attempts before its last one, and logs
  std::string_view input{};           // of one that is not stored
};
static_assert(std::is_trivially_destructible_v<PendingTask>);

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

  /// In the order of their first changes.
  [[nodiscard]] auto tasks() const {
    return std::views::iota(PoolIndex{0}, by_sequence_.size()) |
           std::views::transform([this](PoolIndex i) -> const PendingTask& { return tasks_[i]; });
  }
  using Idempotency = std::unordered_map<std::string, InsertIdempotency>;
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
  [[nodiscard]] PoolIndex index_of(std::int64_t sequence) const;
  PendingHistory& history_of(PendingTask& task);

  static constexpr std::size_t kFirstBytes = 256 * 1024;  // of addresses: pages count once used

  // Of the records, which all views point into, of the tasks and their ends: all of it only grows.
  std::pmr::monotonic_buffer_resource memory_{kFirstBytes, &PageMemory::instance()};
  std::size_t records_ = 0;
  std::size_t bytes_ = 0;
  std::size_t changes_ = 0;
  Pool<PendingTask> tasks_{&memory_};
  LinearHash<PendingTask> by_sequence_{tasks_, &memory_};
  std::deque<PendingHistory> histories_;
  Idempotency idempotency_;
  std::optional<RemoveIdempotency> removed_idempotency_;
  std::vector<InsertKey> keys_;
  std::vector<InsertModel> models_;
  std::vector<SetPaused> pauses_;
  std::optional<std::uint64_t> lease_tokens_;
  std::optional<WallTime> first_end_;
};

}  // namespace quern
