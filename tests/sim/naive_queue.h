#pragma once
// The queue once more, so simple that it is obviously right: maps, linear scans, and a batch is a
// copy. It shares no rules with the core: those of the fair rank are written out again.

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "queue/core.h"

namespace quern::sim {

struct NaiveTask {
  TaskRow row;
  std::uint64_t entered = 0;        // how many came before it
  std::optional<SteadyTime> timer;  // lease, start deadline or backoff
  bool waiting = false;             // for its backoff
  bool crashed = false;             // running under a lease of the process before
  SteadyTime started;
  std::chrono::milliseconds lease_ttl{0};
  std::optional<double> progress;
  std::optional<std::pair<WallTime, SteadyTime>> met_deadline;  // of the start under way
};

/// What shares a virtual time.
using Line = std::pair<ModelIndex, Priority>;

struct NaiveState {
  std::map<TaskId, NaiveTask> tasks;
  std::map<Line, double> virtual_time;
  std::map<ModelIndex, std::uint64_t> claims;
  std::map<ModelIndex, bool> observed;  // a run, so that there is an eta
  std::map<std::pair<Line, KeyIndex>, double>
      served_to;  // the latest finish tag of what was claimed
};

struct NaiveModel {
  ModelPolicy policy;
  bool paused = false;
  bool served = true;
};

class NaiveQueue {
 public:
  // -- policies
  std::map<ModelIndex, NaiveModel> models;
  std::map<KeyIndex, KeyPolicy> keys;

  // -- recovery
  void restore_last_token(std::uint64_t token) { last_token_ = token; }
  void restore(const TaskRow& row, Now now);
  void resume(Now now);

  // -- commands. How long a backoff is, is chance: each takes it from what the core has made of the
  // same command (its list of changes), within the bounds
  std::optional<std::uint64_t> submit(const NewTask& task, Now now);
  std::vector<Claimed> claim(ModelIndex model, std::uint32_t count_max,
                             std::chrono::milliseconds lease_ttl, Now now);
  std::optional<bool> heartbeat(const Lease& lease, std::optional<double> progress, Now now);
  std::optional<TaskState> finish(const Lease& lease, const AttemptReport& report, Now now,
                                  std::span<const Change> core_changes);
  std::optional<TaskState> cancel(const TaskId& id, Now now);
  bool requeue(const TaskRow& row);
  std::size_t end_unserved(ModelIndex model, std::size_t count_max, Now now);
  void tick(Now now, std::size_t count_max, std::span<const Change> core_changes);

  // -- batch
  void commit();
  void rollback();
  [[nodiscard]] const std::vector<Change>& changes() const { return changes_; }
  [[nodiscard]] const std::vector<Lease>& lost() const { return lost_; }
  /// Whose first task has given way to an older one of another model, so that it shows none for the
  /// rest of the batch.
  using Lane = std::pair<Line, KeyIndex>;
  [[nodiscard]] const std::set<Lane>& giving_way() const { return giving_way_; }

  // -- looking
  [[nodiscard]] const NaiveState& committed() const { return committed_; }
  [[nodiscard]] const NaiveState& working() const { return working_; }
  [[nodiscard]] static std::uint64_t position(const NaiveState& state, const NaiveTask& task);
  [[nodiscard]] static std::uint64_t count(const NaiveState& state, std::optional<ModelIndex> model,
                                           TaskState in);
  [[nodiscard]] std::optional<WallTime> oldest_queued(ModelIndex model) const;
  [[nodiscard]] std::optional<SteadyTime> next_due() const;
  /// Its key has more tasks than may run, and some of them at other models, where they run or may start.
  [[nodiscard]] bool shares_places(const NaiveTask& task) const;
  /// What a claim of the model would take from the working state; nullptr if nothing.
  NaiveTask* choice(ModelIndex model);

 private:
  enum class Fate { succeeded, failed, canceled, released, lost, crashed };

  bool is_full(ModelIndex model, KeyIndex key);
  std::uint64_t running_of(KeyIndex key) const;
  bool gives_way(const NaiveTask& task);
  const NaiveTask* first_of(Line line, KeyIndex key) const;
  double next_rank(Line line, KeyIndex key);
  void charge(const TaskRow& row);
  void guess_virtual_time(Line line);
  NaiveTask& add(const TaskRow& row, Change::Kind kind);
  void end_attempt(NaiveTask& task, Fate fate, const AttemptReport& report, Now now);
  void queue_again(NaiveTask& task, Fate fate, std::string_view result, Now now);
  void end(TaskId id, TaskState state, ErrorType type, std::string_view text,
           std::string_view result, Now now, bool start_timed_out = false);
  void on_timer(NaiveTask& task, Now now);
  std::chrono::microseconds agreed_backoff(const NaiveTask& task, Now now) const;
  NaiveTask* running_under(NaiveState& state, const Lease& lease);

  NaiveState committed_;
  NaiveState working_;
  std::vector<Change> changes_;
  std::vector<Lease> lost_;
  std::set<Lane> giving_way_;
  // Not the batch's: a rollback leaves them.
  std::map<KeyIndex, std::uint64_t> claims_of_;
  std::map<KeyIndex, int> times_gave_way_;
  std::span<const Change> core_changes_;
  std::uint64_t last_token_ = 0;
  bool resumed_ = false;
  std::uint64_t entered_ = 0;
};

}  // namespace quern::sim
