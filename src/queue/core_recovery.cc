// Recovery: live rows come back from the store, and what the crash interrupted is put in order.

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "base/assert.h"
#include "queue/core_impl.h"
#include "task/fair_rank.h"

namespace quern {
namespace {

using std::chrono::microseconds;

constexpr double kNoRank = std::numeric_limits<double>::infinity();

TaskRecord record_of(const TaskRow& row, LaneIndex lane) {
  return {.id = row.id,
          .rank = row.rank,
          .priority = row.priority,
          .no_retry = row.no_retry,
          .submitted = row.submitted,
          .data = {.lane = lane,
                   .attempts_started = row.attempts_started,
                   .state = row.state,
                   .cancel_requested = row.cancel_requested}};
}

}  // namespace

void QueueCore::Impl::restore(const TaskRow& row, Now now) {
  QUERN_ASSERT(befores.empty() && !is_terminal(row.state) && tasks.find(row.id) == kNoIndex);
  const LaneIndex lane = index.lane(index.model(row.model), row.priority, index.key(row.key));
  TaskRecord record = record_of(row, lane);
  const std::optional<SteadyTime> timer = row.state == TaskState::running
                                              ? restore_run(row, record, now)
                                              : restore_due(row, record, now);
  const TaskIndex task = tasks.add(record);
  index.attach(task);
  index.put_in(task);
  index.settle(task);
  set_timer(task, timer);
  note_rank(row, lane, task);
  if (row.state == TaskState::running) {
    crashed.push_back(task);
    ++running_committed;
    ++index.model(row.model).running_committed;
  } else {
    ++queued_committed;
  }
}

std::optional<SteadyTime> QueueCore::Impl::restore_run(const TaskRow& row, TaskRecord& record,
                                                       Now now) {
  record.data.run = runs.add({.token = row.lease_token, .lease_end = now.steady, .crashed = true});
  last_token = std::max(last_token, row.lease_token);
  return now.steady;
}

/// The stored times are of a wall clock that may have jumped since, so no wait gets longer than it
/// was at first. How long a backoff may have been, the policies say: resume() bounds it.
std::optional<SteadyTime> QueueCore::Impl::restore_due(const TaskRow& row, TaskRecord& record,
                                                       Now now) {
  if (row.not_before) {
    const microseconds wait = *row.not_before - now.wall;
    record.data.due_kind = DueKind::not_before;
    record.data.due = *row.not_before;
    record.data.waiting = wait.count() > 0;
    if (record.data.waiting) return now.steady + wait;
  } else if (row.start_deadline) {
    const microseconds longest = std::max(*row.start_deadline - row.submitted, microseconds{0});
    record.data.due_kind = DueKind::start_deadline;
    record.data.due = *row.start_deadline;
    return now.steady +
           std::clamp<microseconds>(*row.start_deadline - now.wall, microseconds{0}, longest);
  }
  return std::nullopt;
}

/// Keeps what resume() needs to know of the ranks.
void QueueCore::Impl::note_rank(const TaskRow& row, LaneIndex lane, TaskIndex task) {
  if (row.attempts_started > 0) {
    attempted.push_back(task);
    return;
  }
  if (lane >= first_ranks.size()) first_ranks.resize(lane + 1, kNoRank);
  first_ranks[lane] = std::min(first_ranks[lane], row.rank);
}

void QueueCore::Impl::resume(Now now) {
  index.sort_by_age();
  for (const TaskIndex task : attempted) restore_attempted(task, now);
  restore_virtual_times();
  attempted = {};
  first_ranks = {};

  is_resuming = true;
  std::ranges::sort(crashed, {}, [this](TaskIndex task) { return tasks[task].id; });
  for (const TaskIndex task : crashed) {
    const TaskData& data = tasks[task].data;  // a tick may have come first
    if (data.state == TaskState::running && runs[data.run].crashed) {
      end_attempt(task, {}, AttemptFate::crashed, now, 0);
    }
  }
}

/// A task that was claimed tells of the virtual time, and its backoff is no longer than its model's
/// longest.
void QueueCore::Impl::restore_attempted(TaskIndex task, Now now) {
  const TaskRecord& record = tasks[task];
  Lane& lane = index.lane_of(task);
  const double finish = finish_tag(record.rank, lane.key->policy.weight);
  lane.last_finish = std::max(lane.last_finish, finish);
  lane.model->state.clocks[side_of(record.priority)].on_claimed(record.rank, finish);
  if (record.data.waiting) {
    const SteadyTime longest = now.steady + std::max(lane.model->policy.backoff_max, {});
    timers.set(task, std::min(*timers.due(task), longest));
  }
}

/// The virtual time is not stored. It has come to the ranks of all that was claimed, and near to
/// those that are next in line: a new key must not come before all that waits. Tasks that a graceful
/// stop handed back count as never started, so it may be early by as many.
///
/// Stores of the first version hold finish tags as ranks, one share of its key above a start tag.
/// They are taken as they are: the order of what waits stays, and the virtual time follows from the
/// same numbers.
void QueueCore::Impl::restore_virtual_times() {
  std::map<std::pair<ModelIndex, Priority>, VirtualTimeEstimate> estimates;
  for (LaneIndex i = 0; i < first_ranks.size(); ++i) {
    if (first_ranks[i] == kNoRank) continue;
    const Lane& lane = index[i];
    const KeyPolicy& key = lane.key->policy;
    estimates[{lane.model->index, lane.priority}].add_first(first_ranks[i], key.weight,
                                                            key.running_max > 0);
  }
  for (const auto& [line, estimate] : estimates) {
    const auto [model, priority] = line;
    index.model(model).state.clocks[side_of(priority)].move_to(estimate.value());
  }
}

}  // namespace quern
