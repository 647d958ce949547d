#pragma once
// The queue: tasks go in by submit, runners claim them, report under a lease, and everyone else looks.
//
// Every call answers through its Reply, exactly once. A reply may come on the calling thread before the
// call returns (whatever needs no disk does) or later on a thread of the queue's; it must not block.
// A success is durable when the reply comes: it survives kill -9 and power loss. No reply ever shows
// a state that a crash could take back.
// Errors common to all: unavailable (the store cannot write now: nothing was changed, retry),
// data_loss (the store is damaged: stop).
// Threads: any, for every function.

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "task/task.h"

namespace quern {

template <typename T>
using Reply = std::move_only_function<void(Result<T>)>;

// ---- what the queue must know of models and keys -------------------------------------------------

struct ModelPolicy {
  std::string id;
  std::uint32_t queued_max = 100'000;  // tasks waiting, of all keys
  std::uint32_t attempts_max = 3;
  std::uint32_t slots = 1;  // for the eta only; the dispatcher owns the real ones
  bool retry = true;        // false: like X-Fal-No-Retry on every task
  std::chrono::milliseconds backoff_min{1'000};
  std::chrono::milliseconds backoff_max{60'000};
};

struct KeyPolicy {
  std::string id;
  std::uint32_t queued_max = 10'000;  // tasks waiting, of all models
  std::uint32_t running_max = 0;      // tasks running, of all models; 0: no limit
  double weight = 1;                  // share of a model against other keys with waiting tasks
};

/// Replaces all earlier policies. Queued tasks of a model that is no longer there end as
/// INTERNAL_SERVER_ERROR; a key that is no longer there keeps its tasks under default limits.
struct QueuePolicy {
  std::vector<ModelPolicy> models;
  std::vector<KeyPolicy> keys;
};

// ---- submit --------------------------------------------------------------------------------------

/// Names one request of one key for 24 h, whatever became of its task.
struct IdempotencyKey {
  std::string key;                             // the task key's id
  std::string name;                            // the header's value
  std::array<std::uint8_t, 32> fingerprint{};  // SHA-256 over the model id and the body bytes
};

struct Submission {
  std::string key;    // the id of the owner's key
  std::string model;  // a model id
  std::string input;  // a JSON object, as sent
  Priority priority = Priority::normal;
  std::optional<std::chrono::milliseconds>
      start_timeout;  // not started for the first time by then: INFERENCE_TIMEOUT
  bool no_retry = false;
  std::optional<std::uint64_t> model_queued_max;  // refuse if more than this many of the model wait
  std::optional<IdempotencyKey> idempotency;      // its `key` equals `key`
};

struct Submitted {
  TaskId id;
  std::uint64_t position = 0;  // queued tasks of this model that would be claimed first
  bool replayed = false;       // an earlier submit under the same idempotency key made the task
};

// ---- claim, heartbeat, finish --------------------------------------------------------------------

struct ClaimRequest {
  std::string model;
  std::uint32_t count_max = 1;
  std::chrono::milliseconds lease_ttl{30'000};
};

struct Claim {
  Lease lease;
  std::string key;
  std::string model;
  std::uint32_t attempt = 1;  // 1 for the first
  WallTime submitted;
  std::string input;  // a JSON object, as sent
  /// The key has a running_max: to a claim for this attempt's slot that comes before its finish, the
  /// key is at its limit, and loses its turn.
  bool key_is_limited = false;
};

/// What a runner has to say while it runs. An empty beat only renews the lease.
struct Beat {
  std::optional<double> progress;  // 0 to 1
  std::vector<LogEntry>
      logs;  // kept up to kLogEntriesMax and kLogBytesMax a task, the oldest dropped
  std::uint64_t logs_dropped = 0;  // lines that were before these and are gone; 0 without any
};

struct BeatAnswer {
  bool cancel_requested = false;
};

// ---- looking -------------------------------------------------------------------------------------

/// Which task, and on whose behalf. A task of another key is not_found, like one that never was.
struct TaskRef {
  TaskId id;
  std::string key;    // empty: of any key (administrators)
  std::string model;  // empty: of any model; another model's task is not_found
};

struct TaskQuery {
  TaskRef ref;
  bool logs = false;
  bool attempts = false;
  bool result = false;  // outputs and metadata of a succeeded task
};

struct TaskView {
  TaskId id;
  std::string key;
  std::string model;
  TaskState state = TaskState::queued;
  Priority priority = Priority::normal;
  bool cancel_requested = false;
  std::uint64_t position = 0;      // queued: tasks of the model that would be claimed first
  std::optional<double> eta;       // queued: seconds until its start, when known
  std::optional<double> progress;  // running: 0 to 1, when the runner reports it
  std::uint32_t attempts_started = 0;
  WallTime submitted;
  std::optional<WallTime> ended;
  std::chrono::microseconds run_time{0};   // terminal: the last attempt's
  ErrorType error_type = ErrorType::none;  // failed and canceled
  std::string error;                       // failed and canceled
  bool start_timed_out = false;            // INFERENCE_TIMEOUT because it was not started in time
  std::vector<LogEntry> logs;              // if asked for
  std::uint64_t logs_dropped = 0;  // lines that were before these; then a dropped_note() is first
  std::vector<Attempt> attempts;   // if asked for
  std::vector<Output> outputs;     // succeeded, if asked for
  std::string metadata_json;       // succeeded, if asked for; an object, or empty
};

enum class CancelAnswer : std::uint8_t { requested, already_completed };

/// For administrators: every field narrows.
struct TaskFilter {
  std::string key;
  std::string model;
  std::vector<TaskState> states;                     // empty: all
  std::optional<std::chrono::milliseconds> age_min;  // since submit
  std::optional<TaskId> before;                      // for paging: older than this one
  std::uint32_t count_max = 100;
};

/// The newest first, without logs, attempts and results.
struct TaskPage {
  std::vector<TaskView> tasks;
  bool more = false;
};

struct ModelStats {
  std::string model;
  std::uint64_t queued = 0;
  std::uint64_t running = 0;
  std::chrono::milliseconds oldest_queued_age{0};
  bool paused = false;
};

struct QueueStats {
  std::vector<ModelStats> models;
  std::uint64_t queued = 0;
  std::uint64_t running = 0;
  bool writable = true;           // the last commit succeeded, or none was needed since
  std::string unwritable_reason;  // for /readyz and the log
};

/// Told of what happened, after it is durable. Called on the queue's threads: quick, never blocking,
/// and never calling back into the queue but by the asynchronous functions.
class QueueObserver {
 public:
  virtual ~QueueObserver() = default;
  /// A task of the model may be claimed now.
  virtual void on_claimable(const std::string& /*model*/) {}
  /// The attempt must stop: its task was canceled, or its lease was lost.
  virtual void on_stop(const Lease& /*lease*/, bool /*canceled*/) {}
  /// The files of an expired or purged task are no longer wanted.
  virtual void on_expired(std::span<const Output> /*outputs*/) {}
};

/// What a watch is told of.
enum class WatchFor : std::uint8_t { state, everything };
/// Ends a watch when it goes. Safe to outlive the queue.
using Watch = std::shared_ptr<void>;

class Queue {
 public:
  virtual ~Queue() = default;

  /// Errors: invalid_argument (unknown model), rate_limited (per-key or per-model limit, with
  /// retry_after), conflict (idempotency key reused with another fingerprint), too_large (the input),
  /// unavailable.
  virtual void submit(Submission submission, Reply<Submitted> reply) = 0;
  /// What an earlier submit under this idempotency key got, or nullopt. Errors: conflict.
  virtual void find_replay(const IdempotencyKey& key, Reply<std::optional<Submitted>> reply) = 0;

  /// At most count_max of the model's tasks, in claim order; empty when none may be claimed. Errors:
  /// unavailable (the store takes nothing, or the input of no task can be read).
  virtual void claim(ClaimRequest request, Reply<std::vector<Claim>> reply) = 0;
  /// Renews the lease to its full time. Progress and logs are visible at once and need not be durable.
  /// Errors: lease_lost.
  virtual void heartbeat(const Lease& lease, Beat beat, Reply<BeatAnswer> reply) = 0;
  /// Ends the attempt that `lease` stands for and answers with the task's new state: terminal, or
  /// queued when the attempt is retried or was released. Succeeds only while the task runs under
  /// this very attempt. Repeating a finish that succeeded is lease_lost, and changes nothing.
  /// A success with more outputs, or larger ones, than are kept ends the attempt as a failure.
  /// One that cannot be written renews the lease like a heartbeat: it may come again.
  /// Errors: lease_lost, unavailable.
  virtual void finish(const Lease& lease, Outcome outcome, Reply<TaskState> reply) = 0;

  /// A queued task is canceled at once; a running one gets a durable mark and its runner is told.
  /// Errors: not_found.
  virtual void cancel(const TaskRef& ref, Reply<CancelAnswer> reply) = 0;
  /// Errors: not_found.
  virtual void find(const TaskQuery& query, Reply<TaskView> reply) = 0;
  /// Calls `changed` after each change of the task's state, and of its position, progress or logs
  /// if everything is asked for, coalesced. The same rules as for observers hold for it.
  virtual Watch watch(const TaskId& id, WatchFor what, std::function<void()> changed) = 0;

  virtual void list(const TaskFilter& filter, Reply<TaskPage> reply) = 0;
  /// Gives a failed or canceled task a fresh set of attempts. Errors: not_found, conflict.
  virtual void retry(const TaskRef& ref, Reply<TaskState> reply) = 0;
  /// Removes a terminal task with its result, now. Errors: not_found, conflict (not terminal).
  virtual void purge(const TaskRef& ref, Reply<bool> reply) = 0;
  /// A paused model takes submissions but hands none out. Durable.
  virtual void pause(const std::string& model, bool paused, Reply<bool> reply) = 0;

  virtual void configure(QueuePolicy policy, Reply<bool> reply) = 0;
  virtual QueueStats stats() = 0;
  /// At most one observer; nullptr for none. Set before the first call, or when nothing is under way.
  virtual void observe(QueueObserver* observer) = 0;
};

inline constexpr std::size_t kLogEntriesMax = 1'000;       // a task
inline constexpr std::size_t kLogBytesMax = 256 * 1024;    // a task
inline constexpr std::size_t kLogLineBytesMax = 8 * 1024;  // longer lines are cut
inline constexpr std::size_t kOutputsMax = 1'000;          // a task
/// SQLite takes no row of more than 1 GB, and a store that was handed one would take nothing any more.
inline constexpr std::size_t kInputBytesMax = 256 * 1024 * 1024;
/// All outputs and metadata of a task, as they are stored.
inline constexpr std::size_t kOutputsBytesMax = kInputBytesMax;
inline constexpr std::chrono::hours kIdempotencyTtl{24};

}  // namespace quern
