#pragma once
// Turns gathered commands into durable changes: applies them to the core, writes what changed in
// one transaction of the journal, then publishes and answers.
//
// A transaction that fails takes its commands' effects with it: the core is as it was, and exactly
// these callers get `unavailable`. Until a later one works the store counts as not writable, and a
// tiny write every kProbeInterval finds out when it is again. Damage (`data_loss`) is for ever:
// nothing is written any more. Threads: the commit thread only, but for observe().

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/delayed_wakes.h"
#include "base/random.h"
#include "queue/local/body_cache.h"
#include "queue/local/command.h"
#include "queue/local/journal.h"
#include "queue/local/queue_metrics.h"
#include "queue/local/queue_state.h"
#include "queue/local/result_cache.h"
#include "queue/local/retention.h"
#include "queue/local/running_tasks.h"
#include "queue/local/watch_hub.h"
#include "task/task_id.h"

namespace quern {

inline constexpr std::chrono::seconds kProbeInterval{1};
/// Logs of a task that does nothing else reach the disk after this.
inline constexpr std::chrono::seconds kLogFlushInterval{1};
/// Who looks at the clock later than this has stood still, stopped or starved,
inline constexpr std::chrono::milliseconds kStandstillMin{500};
/// and leaves leases and other timers alone for so long, in which heartbeats can come.
inline constexpr std::chrono::milliseconds kStandstillGrace{250};
inline constexpr int kStandstillsMax = 4;  // of which each begins before that time is over
inline constexpr std::size_t kBatchCommandsMax = 1'024;
inline constexpr std::size_t kBatchBytesMax = 16 * 1024 * 1024;

class Committer {
 public:
  struct Parts {
    QueueState& state;
    Journal& journal;
    Clock& clock;
    Random& random;
    ResultCache& results;
    RunningTasks& running;
    WatchHub& watches;
    QueueMetrics& metrics;
  };
  struct Options {
    std::chrono::milliseconds retention{std::chrono::hours{24}};
    std::size_t body_cache_bytes = 32 * 1024 * 1024;
  };

  Committer(const Parts& parts, const Options& options);

  /// Before anything else: names and live tasks from the store into the core.
  Result<void> recover();
  /// Carries out all of the commands in their order, and whatever is due.
  void run(std::span<Command> commands);
  /// When run() has something to do of itself.
  [[nodiscard]] std::optional<SteadyTime> next_due() const;
  /// Stores what was not worth a transaction of its own.
  void close();

  void observe(QueueObserver* observer) { observer_.store(observer); }

 private:
  /// An idempotency record, or a submit of this batch that will be one.
  struct Replay {
    std::array<std::uint8_t, 32> fingerprint{};
    Submitted submitted;
    bool is_new = false;  // made by this batch
  };

  /// What one transaction gathers.
  struct Batch {
    Now now;
    std::vector<SubmitCommand*> made;                            // in the order of their changes
    std::unordered_map<std::uint64_t, FinishCommand*> finishes;  // by lease token
    std::unordered_map<std::string, Result<Replay>> replays;     // by replay_name()
    std::vector<std::pair<ModelIndex, bool>> pauses;             // and resumes (false)
    std::vector<std::pair<TaskRow, StoredResult>> ended;
    std::vector<ExpiredTask> expired;
    bool drop_records = false;        // idempotency records are due to be forgotten
    std::vector<ModelIndex> emptied;  // that are not served, and have no queued task any more
    std::uint64_t lease_tokens = 0;   // to be reserved; 0: enough are
    bool resumes = false;             // carries the core's recovery
    // copied from the core before its commit
    std::vector<ModelIndex> claimable;
    std::vector<Lease> lost;
    std::vector<Lease> canceled;
    std::vector<std::pair<TaskId, std::optional<QueuePlace>>> changed;  // with the place if queued
    std::vector<TaskId> progressed;
  };

  // -- committer.cc
  void run_batch(std::span<Command> commands);
  /// Why no command can be carried out at all.
  [[nodiscard]] std::optional<Error> blocked() const;
  void roll_back(std::span<const Command> commands);
  void look_up_replays(std::span<Command> commands, Batch& batch);
  void look_up_replay(const IdempotencyKey& key, Batch& batch);
  void apply(std::span<Command> commands, Batch& batch);
  void apply_due(Batch& batch);
  /// Nobody looked at the time when `due` came, nor long after: whoever keeps leases alive may have
  /// stood still as well, and comes first.
  [[nodiscard]] bool leaves_timers(SteadyTime due);
  void on_time();
  /// Takes in logs, and tells watches of progress: heartbeats change nothing that is stored.
  void note_beats(std::span<Command> commands, Batch& batch);
  void append_logs(const TaskId& id, Beat beat);
  void apply_one(SubmitCommand& command, Batch& batch);
  void apply_one(ReplayCommand& command, Batch& batch);
  void apply_one(ClaimCommand& command, Batch& batch);
  void apply_one(HeartbeatCommand& command, Batch& batch);
  void apply_one(FinishCommand& command, Batch& batch);
  void apply_one(CancelCommand& command, Batch& batch);
  void apply_one(PauseCommand& command, Batch& batch);
  void apply_one(AfterCommand& /*command*/, Batch& /*batch*/) {}
  template <typename Alone>
  void apply_one(Alone& /*command*/, Batch& /*batch*/) {}  // never among a batch's
  Result<std::optional<Submitted>> replay_of(const IdempotencyKey& key, const Batch& batch) const;
  [[nodiscard]] bool is_worth_writing(const Batch& batch) const;
  void publish(Batch& batch);
  void publish_pauses(Batch& batch);
  void answer_claims(std::span<Command> commands);
  void answer(std::span<Command> commands, DelayedWakes& wakes);
  void answer_one(SubmitCommand& command);
  void answer_one(ReplayCommand& command);
  void answer_one(ClaimCommand& command);
  void answer_one(HeartbeatCommand& command);
  void answer_one(FinishCommand& command);
  void answer_one(CancelCommand& command);
  void answer_one(PauseCommand& command);
  void answer_one(AfterCommand& command);
  template <typename Alone>
  void answer_one(Alone& /*command*/) {}
  void refuse(std::span<Command> commands, const Error& error);
  void tell(const Batch& batch);
  std::vector<Result<std::string>> take_inputs(std::span<const Claimed> claimed);
  /// The leases of those whose input is there begin anew.
  void renew_leases(std::span<const Claimed> claimed, std::span<const Result<std::string>> inputs);
  Claim make_claim(const Claimed& claimed, std::string model, std::string input);
  void fail_unreadable(const Claimed& claimed, const Error& error);
  void tell_claimable(std::span<const ModelIndex> models);

  // -- committer_changes.cc
  /// Fills the journal's transaction.
  void write(Batch& batch);
  /// Those that are in memory only, whatever the transaction is about: later ones rely on them.
  void write_names();
  void write_change(const Change& change, Batch& batch, std::size_t& next_made);
  void write_submit(const TaskRow& row, const SubmitCommand& command, Batch& batch);
  void write_end(const Change& change, FinishCommand* finish, Batch& batch);
  [[nodiscard]] AttemptRecord attempt_of(const Change& change, const FinishCommand* finish,
                                         const Batch& batch) const;
  StoredResult result_of(const Change& change, FinishCommand* finish, const Batch& batch);
  void find_expired(Batch& batch);
  /// Says it when a look begins to fail, and when one works again.
  void tell_of_look(const std::optional<Error>& error);
  /// Says it when the wall clock has jumped ahead, and when it is followed again.
  void tell_of_jump(Now now);
  void note_changes(Batch& batch);
  void note_watched(Batch& batch);
  void note_expired(const Batch& batch);
  /// Commits the journal's transaction and notes whether the store can be written.
  Result<void> commit_journal();

  // -- committer_admin.cc
  void run_alone(Command& command);
  void run_one(RetryCommand& command);
  void run_one(PurgeCommand& command);
  void run_one(ConfigureCommand& command);
  template <typename Shared>
  void run_one(Shared& /*command*/) {}  // never alone
  Result<TaskState> retry(const TaskRef& ref);
  Result<bool> purge(const TaskRef& ref);
  void configure(const QueuePolicy& policy);
  void set_policies(const QueuePolicy& policy);
  Result<EndedTask> find_ended(const TaskRef& ref);
  Result<CancelAnswer> cancel_ended(const TaskRef& ref);
  void probe();
  void list_unserved();
  void name_all_of(const TaskRow& row);
  ModelIndex intern_model(const std::string& name);
  KeyIndex intern_key(const std::string& name);

  QueueState& state_;
  Journal& journal_;
  Clock& clock_;
  Random& random_;
  ResultCache& results_;
  RunningTasks& running_;
  WatchHub& watches_;
  QueueMetrics& metrics_;
  Options options_;
  std::atomic<QueueObserver*> observer_{nullptr};

  std::optional<TaskIdGenerator> ids_;  // from recover() on
  BodyCache bodies_;
  Retention retention_;
  std::uint64_t reserved_tokens_ = 0;
  bool resumed_ = false;              // the core's recovery is over, which needs the first policies
  std::size_t records_made_ = 0;      // of idempotency, since some were forgotten
  std::vector<ModelIndex> unserved_;  // may have queued tasks that nobody serves
  std::optional<SteadyTime> logs_due_;
  SteadyTime next_probe_{};
  bool is_look_failing_ = false;  // for what is to be forgotten
  bool is_clock_ahead_ = false;
  bool configured_ = false;
  std::span<Command> rest_;                // of run(): what comes after the present batch
  SteadyTime taken_{};                     // of run(): when it began, with all that had come
  SteadyTime taken_before_{};              // the same of the run before
  std::optional<SteadyTime> timers_from_;  // after a standstill: no timers before this
  int standstills_ = 0;                    // in a row
  std::vector<Command> own_;  // commands that the committer gives itself for its next run
};

}  // namespace quern
