#pragma once
// What survives: the embedded store's writing side, on SQLite in WAL mode with synchronous=FULL.
//
// A transaction is begin(), any number of writes, then commit() or rollback(). The first write that
// fails makes the rest of the transaction do nothing, and commit() says why after rolling back; so
// callers write in a row without looking.
// A commit that answered success survives kill -9 and power loss.
// Threads: one at a time (the commit thread). Readers have their own connections
// (journal_reader.h).

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

namespace quern {

struct JournalOptions {
  std::filesystem::path file;
  /// 0: as large as the disk. A smaller one stands for a full disk in tests.
  std::int64_t pages_max = 0;
};

class Journal {
 public:
  /// Errors: unavailable (cannot be opened), data_loss (damaged), invalid_argument (made by a newer
  /// version).
  static Result<std::unique_ptr<Journal>> open(const JournalOptions& options);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // -- recovery
  /// Names by their index, without gaps.
  Result<std::vector<std::string>> key_names();
  Result<std::vector<StoredModel>> model_names();
  /// The highest sequence that was ever stored and is still known; 0 for none.
  Result<std::int64_t> last_sequence();
  /// No lease token above this one was ever given out.
  Result<std::uint64_t> reserved_lease_tokens();
  using LiveRow = std::function<void(const TaskRow& row, std::optional<WallTime> started)>;
  /// Every queued and running task, in the order of submission.
  Result<void> for_each_live(const LiveRow& row);

  // -- one transaction
  void begin();
  void insert_key(KeyIndex index, std::string_view name);
  void insert_model(ModelIndex index, std::string_view name);
  void set_paused(ModelIndex index, bool paused);
  void insert_task(const TaskRow& row, std::string_view input);
  /// `started`: of the running attempt, else nothing.
  void update_task(const TaskRow& row, std::optional<WallTime> started);
  /// Takes the row from the live tasks to the ended ones, with its input. `outputs`: the result's,
  /// as encode_outputs() has them. `last`: the attempt that it ended with, or null.
  void end_task(const TaskRow& row, const TaskResult& result, std::string_view outputs,
                const AttemptRecord* last);
  /// Takes the row back from the ended tasks to the live ones.
  void revive_task(const TaskRow& row);
  /// An attempt after which its task is queued again.
  void insert_attempt(const AttemptRecord& attempt);
  /// A line of the same number is replaced.
  void insert_log(const TaskId& id, std::uint64_t number, const LogEntry& entry);
  /// Forgets lines before `first_kept`.
  void drop_logs(const TaskId& id, std::uint64_t first_kept);
  /// An older record of the same key and name is replaced.
  void insert_idempotency(KeyIndex key, std::string_view name, const IdempotencyRecord& record);
  /// Forgets an ended task with its input, result, attempts and logs.
  void remove_ended(const TaskId& id);
  /// Forgets records made before `created_before`, at most `count_max` of the oldest.
  void remove_idempotency(WallTime created_before, std::size_t count_max);
  void reserve_lease_tokens(std::uint64_t up_to);
  /// The smallest write there is, to see whether the store takes any.
  void write_probe();
  /// A commit that fails has no effect, after a crash either.
  Result<void> commit();
  void rollback();

  // -- reading in between
  Result<std::optional<IdempotencyRecord>> find_idempotency(KeyIndex key, std::string_view name);
  /// Of a live task. Errors: not_found.
  Result<std::string> input(const TaskId& id);
  /// As input() for each of them, in their order; those of neighbours are read together.
  std::vector<Result<std::string>> inputs(std::span<const TaskId> ids);
  Result<std::optional<EndedTask>> find_ended(const TaskId& id);
  Result<std::vector<NumberedLog>> logs(const TaskId& id);
  /// Tasks that ended before `ended_before`, the oldest first, at most `count_max`.
  Result<std::vector<ExpiredTask>> expired(WallTime ended_before, std::size_t count_max);
  Result<std::optional<WallTime>> oldest_ended();
  Result<std::optional<WallTime>> oldest_idempotency();

  // -- the write-ahead log, which only grows until somebody asks for a checkpoint (checkpointer.h)
  [[nodiscard]] std::size_t log_pages() const;
  [[nodiscard]] std::size_t cache_bytes() const;
  Result<void> checkpoint();

  /// Tests only: moves the limit that stands for a full disk; 0 lifts it.
  Result<void> set_pages_max(std::int64_t pages);

 private:
  struct Impl;
  explicit Journal(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quern
