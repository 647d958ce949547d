// Recovery: live rows come back from the store, and what the crash interrupted is put in order.

#include <algorithm>

#include "base/assert.h"
#include "queue/core_impl.h"
#include "task/fair_rank.h"

namespace quern {
namespace {

using std::chrono::microseconds;

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
  Model& model = index.model(row.model);
  const LaneIndex lane = index.lane(model, index.key(row.key));
  TaskRecord record = record_of(row, lane);
  std::optional<SteadyTime> timer;
  if (row.state == TaskState::running) {
    record.data.run =
        runs.add({.token = row.lease_token, .lease_end = now.steady, .crashed = true});
    timer = now.steady;
    last_token = std::max(last_token, row.lease_token);
    ++running_committed;
    ++model.running_committed;
  } else {
    restore_due(row, model, record, timer, now);
    ++queued_committed;
  }
  if (row.attempts_started > 0) {
    model.state.virtual_time = std::max(model.state.virtual_time, row.rank);
  }
  index[lane].last_rank = std::max(index[lane].last_rank, row.rank);

  const TaskIndex task = tasks.add(record);
  index.attach(task);
  index.put_in(task);
  index.settle(task);
  set_timer(task, timer);
  if (row.state == TaskState::running) crashed.push_back(task);
}

/// The stored times are of a wall clock that may have jumped since, so no wait gets longer than it
/// was at first.
void QueueCore::Impl::restore_due(const TaskRow& row, const Model& model, TaskRecord& record,
                                  std::optional<SteadyTime>& timer, Now now) {
  const auto left = [&](WallTime due, microseconds longest) {
    return std::clamp<microseconds>(due - now.wall, microseconds{0}, std::max(longest, {}));
  };
  if (row.not_before) {
    const microseconds wait = left(*row.not_before, model.policy.backoff_max);
    record.data.due_kind = DueKind::not_before;
    record.data.due = *row.not_before;
    record.data.waiting = wait.count() > 0;
    if (record.data.waiting) timer = now.steady + wait;
  } else if (row.start_deadline) {
    record.data.due_kind = DueKind::start_deadline;
    record.data.due = *row.start_deadline;
    timer = now.steady + left(*row.start_deadline, *row.start_deadline - row.submitted);
  }
}

void QueueCore::Impl::resume(Now now) {
  index.sort_by_age();
  for (const std::unique_ptr<Model>& model : index.models()) {
    if (model) restore_virtual_time(*model);
  }
  is_resuming = true;
  std::ranges::sort(crashed, {}, [this](TaskIndex task) { return tasks[task].id; });
  for (const TaskIndex task : crashed) {
    const TaskData& data = tasks[task].data;  // a tick may have come first
    if (data.state == TaskState::running && runs[data.run].crashed) {
      end_attempt(task, {}, AttemptFate::crashed, now, 0);
    }
  }
}

/// The virtual time is not stored. It is the rank of some task that was started, or where the next
/// one in line started from: a new key must not come before all that waits.
void QueueCore::Impl::restore_virtual_time(Model& model) {
  const TaskIndex first = index.first_queued(model);
  if (first == kNoIndex) return;
  const double from = tasks[first].rank - rank_share(index.lane_of(first).key->policy.weight);
  model.state.virtual_time = std::max(model.state.virtual_time, from);
}

}  // namespace quern
