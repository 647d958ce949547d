#pragma once
// The records of live tasks in memory, found by id.
//
// One record is 104 bytes and holds the links of every structure that its task is in; with the
// buckets of the id table a queued task costs about 110 bytes.

#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "queue/chunked_array.h"
#include "queue/core.h"
#include "queue/linear_hash.h"
#include "task/task.h"

namespace quern {

using TaskIndex = PoolIndex;
using LaneIndex = PoolIndex;
using RunIndex = PoolIndex;

/// What a task's `due` time is for: a start deadline ends with the first start, which a run keeps in
/// mind until something has run, and backoffs come later.
enum class DueKind : std::uint8_t { none, start_deadline, not_before };

/// Which of the two views of the queue (queue/position_tree.h) count a task as queued.
enum class Membership : std::uint8_t { none = 0, committed = 1, working = 2, both = 3 };

/// The part of a record that commands change.
struct TaskData {
  WallTime due;             // as stored; what counts in this process is the task's timer
  RunIndex run = kNoIndex;  // running only
  LaneIndex lane = kNoIndex;
  std::uint32_t attempts_started = 0;
  TaskState state = TaskState::queued;
  DueKind due_kind = DueKind::none;
  bool waiting = false;  // queued, and its backoff is not over
  bool cancel_requested = false;
};

struct TaskRecord {
  TaskId id;
  double rank = 0;
  // -- position tree
  PoolIndex position_left = kNoIndex;
  PoolIndex position_right = kNoIndex;
  std::uint32_t committed_count = 0;  // in the subtree
  std::uint32_t working_count = 0;
  // -- claim order of the lane
  PoolIndex lane_left = kNoIndex;
  PoolIndex lane_right = kNoIndex;
  // -- live tasks of the model by age
  TaskIndex older = kNoIndex;
  TaskIndex newer = kNoIndex;

  PoolIndex chain = kNoIndex;            // id table, or the pool's free list
  PoolIndex timer = kNoIndex;            // place in the timer heap
  PoolIndex before_image = kNoIndex;     // in the open batch, if that touched the task
  Priority priority = Priority::normal;  // fixed, like no_retry
  bool no_retry = false;
  Membership membership = Membership::none;
  WallTime submitted;
  TaskData data;

  [[nodiscard]] std::uint64_t hash() const { return std::hash<TaskId>{}(id); }
};
static_assert(sizeof(TaskRecord) <= 104);

/// The running attempt of a task.
struct TaskRun {
  std::uint64_t token = 0;
  SteadyTime started;
  SteadyTime lease_end;
  std::chrono::milliseconds lease_ttl{0};
  std::optional<double> progress;
  std::optional<SteadyTime> start_deadline;  // that this attempt is in time for
  bool crashed = false;                      // restored: its runner went down with the server
  PoolIndex chain = kNoIndex;
};

class TaskTable {
 public:
  TaskRecord& operator[](TaskIndex i) { return records_[i]; }
  const TaskRecord& operator[](TaskIndex i) const { return records_[i]; }

  [[nodiscard]] TaskIndex find(const TaskId& id) const {
    return by_id_.find(std::hash<TaskId>{}(id), [&](const TaskRecord& r) { return r.id == id; });
  }
  TaskIndex add(const TaskRecord& record) {
    const TaskIndex i = records_.add(record);
    by_id_.insert(i);
    return i;
  }
  void remove(TaskIndex i) {
    by_id_.erase(i);
    records_.remove(i);
  }
  [[nodiscard]] std::uint64_t size() const { return by_id_.size(); }

 private:
  Pool<TaskRecord> records_;
  LinearHash<TaskRecord> by_id_{records_};
};

}  // namespace quern
