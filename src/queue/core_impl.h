#pragma once
// The inside of QueueCore: what its commands share. Only core*.cc include this.

#include <optional>
#include <string_view>
#include <vector>

#include "queue/claim_index.h"
#include "queue/core.h"
#include "queue/task_table.h"
#include "queue/timer_heap.h"
#include "task/retry_policy.h"

namespace quern {

struct QueueCore::Impl {
  /// A task as it was before the open batch first touched it.
  struct BeforeImage {
    TaskIndex task = kNoIndex;
    TaskData data;
    std::optional<SteadyTime> timer;
    bool created = false;  // by the batch: before, there was nothing
  };

  /// How a task comes to its end.
  struct End {
    TaskState state = TaskState::failed;
    ErrorType error_type = ErrorType::none;
    std::string_view error;
    bool start_timed_out = false;
  };

  /// A Change without its row.
  struct Cause {
    Change::Kind kind{};
    std::string_view attempt_result;
    std::uint64_t attempt_token = 0;
  };

  // -- core_commands.cc
  Result<void> admit(const ModelQueue& model, const Key& key) const;
  std::unexpected<Error> refuse(const ModelQueue& model, std::uint64_t places,
                                std::uint64_t too_many) const;
  Result<std::uint64_t> submit(const NewTask& task, Now now);
  Result<void> requeue(const TaskRow& row);
  void claim(ModelQueue& model, std::uint32_t count_max, std::chrono::milliseconds lease_ttl,
             Now now, std::vector<Claimed>& out);
  [[nodiscard]] bool is_late(TaskIndex task, Now now) const;
  Claimed start(TaskIndex task, std::chrono::milliseconds lease_ttl, Now now);
  Result<bool> heartbeat(const Lease& lease, std::optional<double> progress, Now now);
  Result<TaskState> finish(const Lease& lease, const AttemptReport& report, Now now,
                           std::uint64_t chance);
  Result<TaskState> cancel(const TaskId& id, Now now);
  std::size_t end_unserved(ModelQueue& model, std::size_t count_max, Now now);
  void tick(Now now, std::uint64_t chance, std::size_t count_max);
  void on_timer(TaskIndex task, Now now, std::uint64_t chance);
  TaskState end_attempt(TaskIndex task, const AttemptReport& report, AttemptFate fate, Now now,
                        std::uint64_t chance);
  void queue_again(TaskIndex task, const Verdict& verdict, std::optional<SteadyTime> start_deadline,
                   Cause cause, Now now, std::uint64_t chance);
  void end(TaskIndex task, const End& how, Cause cause, Now now);
  void observe_run(TaskIndex task, AttemptFate fate, Now now);

  // -- core_batch.cc
  TaskIndex create(const TaskRecord& record, ModelQueue& model, Key& key, Cause cause);
  void touch(TaskIndex task);
  ModelState& open(ModelQueue& model);
  Lane& open(LaneIndex lane);
  /// The one way in which a task changes its state, its place in line, or its timer.
  void change(TaskIndex task, const TaskData& next, std::optional<SteadyTime> timer);
  void set_timer(TaskIndex task, std::optional<SteadyTime> due);
  void drop_run(TaskIndex task, RunIndex run);
  void record_change(TaskIndex task, const Cause& cause);
  void commit();
  void settle(const BeforeImage& before);
  void rollback();
  void undo(const BeforeImage& before);
  void close_batch();

  // -- core_recovery.cc
  void restore(const TaskRow& row, Now now);
  std::optional<SteadyTime> restore_run(const TaskRow& row, TaskRecord& record, Now now);
  std::optional<SteadyTime> restore_due(const TaskRow& row, TaskRecord& record, Now now);
  void note_rank(const TaskRow& row, LaneIndex lane, TaskIndex task);
  void resume(Now now);
  void restore_attempted(TaskIndex task, Now now);
  void restore_virtual_times();

  // -- core.cc
  [[nodiscard]] TaskRow row_of(TaskIndex task, const TaskData& data) const;
  /// The task as readers may see it; nullptr if it is not yet committed.
  [[nodiscard]] const TaskData* committed(TaskIndex task) const;
  [[nodiscard]] std::optional<double> eta(TaskIndex task, std::uint64_t position) const;

  TaskTable tasks;
  Pool<TaskRun> runs;
  ClaimIndex index{tasks};
  TimerHeap timers{tasks};
  std::uint64_t last_token = 0;
  std::uint64_t queued_committed = 0;
  std::uint64_t running_committed = 0;

  // -- recovery
  std::vector<TaskIndex> attempted;  // restored with an attempt, until the first resume()
  std::vector<double> first_ranks;   // by lane, of what never started; until the first resume()
  std::vector<TaskIndex> crashed;    // restored as running, until resume() is committed
  bool is_resuming = false;

  // -- the open batch
  std::vector<BeforeImage> befores;
  std::vector<ModelQueue*> open_models;
  std::vector<LaneIndex> open_lanes;
  std::vector<Change> changes;
  std::vector<Lease> lost;
};

}  // namespace quern
