#pragma once
// Brings the tables up to date behind the commits, by a thread of its own.
//
// Committed changes gather (pending.h) until they are many, or old, or somebody wants to read them
// in the tables; then the thread writes what they come to in one transaction, while the next ones
// gather. At times it also moves SQLite's own log into the database, after which the redo log's
// records up to there are not needed any more.
//
// Until they are in the tables, changes are looked up here: in `recent`, else in `earlier`, else in
// the tables.
// Limits: where commits are faster than the tables, each waits a little from kPendingBytesSlow on,
// the longer the more has gathered, and from kPendingBytesMax on until the gathered are being
// written. Threads: as each function says.

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>

#include "base/result.h"
#include "queue/local/pending.h"
#include "queue/local/queue_metrics.h"
#include "queue/local/redo_log.h"
#include "queue/local/tables.h"

namespace quern {

/// What gathers before it is written.
inline constexpr std::size_t kApplyBytes = 4 * 1024 * 1024;
inline constexpr std::size_t kApplyChanges = 16'384;
inline constexpr std::chrono::milliseconds kApplyDelay{100};
inline constexpr std::size_t kPendingBytesSlow = kApplyBytes + kApplyBytes / 2;
inline constexpr std::size_t kPendingBytesMax = 4 * kApplyBytes;
/// The wait of a commit just below kPendingBytesMax.
inline constexpr std::chrono::microseconds kPendingWaitMax{5'000};
/// A transaction that failed is tried again after this, or as soon as somebody asks for it.
inline constexpr std::chrono::seconds kApplyRetryInterval{1};

class TableWriter {
 public:
  /// `replayed`: what the log has beyond the tables, up to record `number`. The log outlives the writer.
  TableWriter(std::unique_ptr<Tables> tables, RedoLog& log, std::size_t checkpoint_pages,
              std::shared_ptr<const Pending> replayed, std::uint64_t number,
              const TableTimes& times = {});
  /// Writes what is left, unless it has not begun.
  ~TableWriter();
  TableWriter(const TableWriter&) = delete;
  TableWriter& operator=(const TableWriter&) = delete;

  /// Writes from now on: first what was replayed, at once; and all that an earlier run left is made durable anew. Whoever
  /// waits for the tables to be written has them begun, too. Any thread.
  void begin();
  /// Before a record goes to the redo log: whether the tables will take it. Waits for a transaction
  /// of theirs if the last one failed. The commit thread's.
  Result<void> prepare();
  /// Takes in a record that is in the redo log; may wait, see the limits. The commit thread's.
  void add(std::string_view record, std::uint64_t number);

  /// What the tables may not have yet. Either may be null.
  struct Overlay {
    std::shared_ptr<const Pending> recent;
    std::shared_ptr<const Pending> earlier;
  };
  /// The commit thread's: it alone changes what is in there.
  [[nodiscard]] Overlay overlay() const;

  /// Any thread. Returns once the tables have whatever was committed before the call; of one task,
  /// at once if they have that already. Errors: of the transaction that failed.
  Result<void> settle();
  Result<void> settle(const TaskId& id);
  /// Why the tables cannot be written; nothing: they can, as far as is known. Any thread.
  [[nodiscard]] std::optional<Error> failure() const;
  /// Memory of the tables' cache of pages, after the last transaction. Any thread.
  [[nodiscard]] std::size_t cache_bytes() const;

 private:
  /// The commit thread waits as the limits say, so that the writer keeps up.
  void hold_back(std::unique_lock<std::mutex>& lock);
  void loop();
  /// Waits until there is something to be written, and it is time; false: nothing is left at the end.
  bool wait(std::unique_lock<std::mutex>& lock);
  /// One transaction, without the lock while it is being written.
  void write(std::unique_lock<std::mutex>& lock);
  void checkpoint(std::uint64_t number);
  /// Waits until `is_done`. Errors: of a transaction that began after the call.
  template <typename Done>
  Result<void> await(std::unique_lock<std::mutex>& lock, Done is_done);
  Result<void> settle(std::unique_lock<std::mutex>& lock);
  // -- with the lock
  [[nodiscard]] bool is_behind() const { return earlier_ != nullptr || !recent_->is_empty(); }
  /// When the next transaction is due; nothing: there is none to be made.
  [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> due() const;
  [[nodiscard]] bool is_much() const {
    return recent_->bytes() >= kApplyBytes || recent_->changes() >= kApplyChanges;
  }

  std::unique_ptr<Tables> tables_;  // of the thread
  RedoLog& log_;
  const std::size_t checkpoint_pages_;
  const TableTimes times_;
  bool is_checkpoint_failing_ = false;  // of the thread

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::condition_variable written_;  // or what was gathered was taken over
  std::shared_ptr<Pending> recent_;
  std::shared_ptr<const Pending> earlier_;  // being written; null: nothing is
  std::uint64_t added_;                     // number of the last record in recent_
  std::uint64_t earlier_number_;            // of the last one in earlier_
  std::uint64_t applied_;
  std::chrono::steady_clock::time_point first_added_{};  // to recent_
  bool is_begun_ = false;
  bool is_settled_ = false;       // what an earlier run left is durable
  std::uint64_t wanted_ = 0;      // somebody waits for this record
  bool is_retry_wanted_ = false;  // though the last transaction failed
  std::uint64_t writes_begun_ = 0;
  std::uint64_t writes_ended_ = 0;
  std::optional<Error> failure_;
  std::chrono::steady_clock::time_point failed_at_{};
  std::size_t cache_bytes_ = 0;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace quern
