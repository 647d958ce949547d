#pragma once
// The heart of the embedded queue: a deterministic state machine without I/O, clocks, chance,
// threads or JSON.
//
// Commands come in with their time, answers go out at once, and what must be stored is collected as
// changes. A batch is any number of commands, then either commit() (the changes are on the disk) or
// rollback() (they are not: the core is as it was before the batch). Looking is always at the
// committed state, so nobody sees what a crash could take back. The same commands give the same
// answers.
//
// It holds live tasks only (queued and running): a task that ended leaves at the commit.
// Memory: about 110 bytes a queued task. Cost: O(log n) for submit, claim, finish and position.
//
// Threads: one at a time; LocalQueue has the lock.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "queue/queue.h"
#include "task/task.h"

namespace quern {

/// Models and keys by small numbers, given by the journal and never used again for another name.
enum class ModelIndex : std::uint32_t {};
enum class KeyIndex : std::uint32_t {};

/// What is stored of a task besides its input, result, logs and attempts: one row.
struct TaskRow {
  TaskId id;
  KeyIndex key{};
  ModelIndex model{};
  TaskState state = TaskState::queued;
  Priority priority = Priority::normal;
  bool no_retry = false;
  bool cancel_requested = false;
  bool start_timed_out = false;
  std::uint32_t attempts_started = 0;  // of the present set; released ones are given back
  double rank = 0;                     // start tag within (model, priority): task/fair_rank.h
  std::uint64_t lease_token = 0;       // of the running attempt, else 0
  WallTime submitted;
  std::optional<WallTime> start_deadline;  // queued only, and only until the first start
  std::optional<WallTime> not_before;      // backoff after a failed attempt
  std::optional<WallTime> ended;           // terminal
  ErrorType error_type = ErrorType::none;  // terminal

  friend bool operator==(const TaskRow&, const TaskRow&) = default;
};

/// One thing to be stored. A task may change more than once in a batch; the last row counts.
struct Change {
  enum class Kind : std::uint8_t {
    submitted,      // a new row
    started,        // an attempt began
    attempt_ended,  // back to queued: retry, released or lost lease; `attempt_result` says which
    cancel_marked,  // running, with the durable mark
    ended,          // terminal; `attempt_result` is set if an attempt ended with it
    requeued,       // an ended task is queued again, with a fresh set of attempts
  };
  Kind kind{};
  TaskRow row;
  /// "succeeded", "failed", "canceled", "released", "lost", "crashed"; empty if no attempt ended.
  /// Static.
  std::string_view attempt_result;
  std::string_view error;           // static text for ends that the core decides; else empty
  std::uint64_t attempt_token = 0;  // lease token of the attempt that started or ended, else 0
};

struct NewTask {
  TaskId id;
  KeyIndex key{};
  ModelIndex model{};
  Priority priority = Priority::normal;
  bool no_retry = false;
  std::optional<std::chrono::milliseconds> start_timeout;
  std::optional<std::uint64_t> model_queued_max;
};

struct Claimed {
  Lease lease;
  KeyIndex key{};
  std::uint32_t attempt = 1;
  WallTime submitted;
  bool key_is_limited = false;  // as in Claim
};

/// How an attempt ended, as far as the state machine cares.
struct AttemptReport {
  AttemptEnd end = AttemptEnd::failed;
  ErrorType error_type = ErrorType::none;
  bool retryable = false;
};

/// A live task as it stands committed.
struct LiveTask {
  TaskRow row;
  std::uint64_t position = 0;  // queued only
  std::optional<double> eta;   // queued only: seconds
  std::optional<double> progress;
};

class QueueCore {
 public:
  QueueCore();
  ~QueueCore();
  QueueCore(const QueueCore&) = delete;

  // -- policies: outside of a batch, and not undone by rollback
  void set_model(ModelIndex model, const ModelPolicy& policy);
  void set_key(KeyIndex key, const KeyPolicy& policy);
  void set_paused(ModelIndex model, bool paused);

  // -- recovery: rows in any order, ascending ids are fastest, before or after the policies; then,
  // with both and before the first command, resume()
  /// No lease token up to `token` is given again. Call it with the highest one of any stored
  /// attempt: the row of a queued task does not tell the tokens that it had.
  void restore_last_token(std::uint64_t token);
  /// Takes back a live task. One that was running has lost its attempt with the crash: it is queued
  /// again by resume(), or ended when that was its last.
  void restore(const TaskRow& row, Now now);
  /// Ends recovery by what the policies say; its changes are committed or rolled back like a
  /// batch's. After a rollback it may be called again; else the next ticks do its work.
  void resume(Now now);

  // -- commands. `chance`: fresh random bits, for jitter
  /// Position of the new task, counting this batch's. Errors: rate_limited ("Queue is full"),
  /// invalid_argument (the model is no longer served).
  Result<std::uint64_t> submit(const NewTask& task, Now now);
  /// Appends at most `count_max` claims. Lease tokens ascend; restore() keeps them above every
  /// stored one. The last places of a key with a running_max are for its oldest tasks: one that is
  /// younger than others that could start at another model is left for a later batch, at most three
  /// times in a row.
  void claim(ModelIndex model, std::uint32_t count_max, std::chrono::milliseconds lease_ttl,
             Now now, std::vector<Claimed>& out);
  /// Answers whether a cancel was asked for. Not a change: like looking it goes by the committed
  /// state, may come at any time, also between a batch's commands and its commit, and no rollback
  /// undoes it. Errors: lease_lost.
  Result<bool> heartbeat(const Lease& lease, std::optional<double> progress, Now now);
  /// Errors: lease_lost.
  Result<TaskState> finish(const Lease& lease, const AttemptReport& report, Now now,
                           std::uint64_t chance);
  /// `canceled`, or `running` for a task that must first stop. Errors: not_found (not a live task).
  Result<TaskState> cancel(const TaskId& id, Now now);
  /// Puts a failed or canceled task's row back as queued, with a fresh set of attempts and a new
  /// rank. Errors: rate_limited, conflict (it is live, or succeeded), unavailable (it ended in this
  /// very batch), invalid_argument (the model is no longer served).
  Result<void> requeue(const TaskRow& row);
  /// Ends queued tasks of a model that is no longer served; at most `count_max`, returns how many.
  /// Until the next set_model its running tasks end too where they would have been queued again.
  std::size_t end_unserved(ModelIndex model, std::size_t count_max, Now now);
  /// Leases that ran out, starts that came too late, backoffs that are over. At most `count_max`
  /// tasks.
  void tick(Now now, std::uint64_t chance, std::size_t count_max);
  /// When tick() has something to do next.
  [[nodiscard]] std::optional<SteadyTime> next_due() const;

  // -- batch: what its commands have brought about. commit() and rollback() clear it, so read it
  // before
  [[nodiscard]] std::span<const Change> changes() const;
  /// Models of which a task has become claimable since the last commit: by a command, a policy, or
  /// the last rollback. A hint for waking runners: the task may have been claimed since.
  [[nodiscard]] std::span<const ModelIndex> claimable() const;
  /// Leases that ended in this batch without their holder's doing (lost, not finished).
  [[nodiscard]] std::span<const Lease> lost() const;
  void commit();
  void rollback();

  // -- looking, at the committed state
  [[nodiscard]] std::optional<LiveTask> find(const TaskId& id) const;
  [[nodiscard]] std::uint64_t queued(ModelIndex model) const;
  [[nodiscard]] std::uint64_t running(ModelIndex model) const;
  /// When the task was submitted that is queued and has been live the longest.
  [[nodiscard]] std::optional<WallTime> oldest_queued(ModelIndex model) const;
  [[nodiscard]] std::uint64_t queued() const;
  [[nodiscard]] std::uint64_t running() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quern
