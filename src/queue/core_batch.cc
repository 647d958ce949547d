// Batches: before-images on first touch, so that readers see the committed state and rollback()
// restores it.

#include <ranges>

#include "base/assert.h"
#include "queue/core_impl.h"
#include "task/task_state.h"

namespace quern {

/// Adds a queued task with a new fair rank.
TaskIndex QueueCore::Impl::create(const TaskRecord& record, ModelQueue& model, Key& key,
                                  Cause cause) {
  QUERN_ASSERT(tasks.find(record.id) == kNoIndex);
  if (index.is_idle(model, record.priority)) {
    open(model).clocks[side_of(record.priority)].on_idle();
  }
  const LaneIndex lane = index.lane(model, record.priority, key);
  const TaskIndex task = tasks.add(record);
  tasks[task].data.lane = lane;
  tasks[task].rank = index.next_rank(lane);
  tasks[task].before_image = static_cast<PoolIndex>(befores.size());
  befores.push_back({.task = task, .created = true});
  index.attach(task);
  index.put_in(task);
  record_change(task, cause);
  return task;
}

void QueueCore::Impl::touch(TaskIndex task) {
  TaskRecord& record = tasks[task];
  if (record.before_image != kNoIndex) return;
  record.before_image = static_cast<PoolIndex>(befores.size());
  befores.push_back({.task = task, .data = record.data, .timer = timers.due(task)});
}

ModelState& QueueCore::Impl::open(ModelQueue& model) {
  if (!model.is_open) {
    model.is_open = true;
    model.saved = model.state;
    open_models.push_back(&model);
  }
  return model.state;
}

Lane& QueueCore::Impl::open(LaneIndex lane) {
  Lane& opened = index[lane];
  if (!opened.is_open) {
    opened.is_open = true;
    opened.saved_last_finish = opened.last_finish;
    open_lanes.push_back(lane);
  }
  return opened;
}

void QueueCore::Impl::change(TaskIndex task, const TaskData& next,
                             std::optional<SteadyTime> timer) {
  touch(task);
  TaskData& data = tasks[task].data;
  QUERN_ASSERT(next.state == data.state || is_legal_move(data.state, next.state));
  index.take_out(task);
  data = next;
  index.put_in(task);
  set_timer(task, timer);
}

void QueueCore::Impl::set_timer(TaskIndex task, std::optional<SteadyTime> due) {
  if (due) {
    timers.set(task, *due);
  } else {
    timers.cancel(task);
  }
}

/// Forgets a run that the task no longer has, unless the before-image still tells of it.
void QueueCore::Impl::drop_run(TaskIndex task, RunIndex run) {
  if (befores[tasks[task].before_image].data.run != run) runs.remove(run);
}

void QueueCore::Impl::record_change(TaskIndex task, const Cause& cause) {
  changes.push_back({.kind = cause.kind,
                     .row = row_of(task, tasks[task].data),
                     .attempt_result = cause.attempt_result,
                     .error = {},
                     .attempt_token = cause.attempt_token});
}

void QueueCore::Impl::commit() {
  index.end_giving_way();
  for (const LaneIndex lane : open_lanes) index[lane].is_open = false;
  for (const BeforeImage& before : befores) settle(before);
  for (ModelQueue* model : open_models) {
    model->is_open = false;
    index.forget_idle(*model);
  }
  if (is_resuming) crashed.clear();
  index.clear_claimable();
  close_batch();
}

void QueueCore::Impl::settle(const BeforeImage& before) {
  TaskRecord& record = tasks[before.task];
  ModelQueue& model = *index.lane_of(before.task).model;
  if (!before.created) {
    queued_committed -= before.data.state == TaskState::queued ? 1U : 0U;
    running_committed -= before.data.state == TaskState::running ? 1U : 0U;
    model.running_committed -= before.data.state == TaskState::running ? 1U : 0U;
  }
  queued_committed += record.data.state == TaskState::queued ? 1U : 0U;
  running_committed += record.data.state == TaskState::running ? 1U : 0U;
  model.running_committed += record.data.state == TaskState::running ? 1U : 0U;

  if (before.data.run != kNoIndex && before.data.run != record.data.run) {
    runs.remove(before.data.run);
  }
  record.before_image = kNoIndex;
  index.settle(before.task);
  if (is_terminal(record.data.state)) {
    index.detach(before.task);
    tasks.remove(before.task);
  }
}

void QueueCore::Impl::rollback() {
  index.end_giving_way();
  for (const LaneIndex lane : open_lanes) {
    index[lane].is_open = false;
    index[lane].last_finish = index[lane].saved_last_finish;
  }
  for (ModelQueue* model : open_models) {
    model->is_open = false;
    model->state = model->saved;
  }
  for (const BeforeImage& before : std::views::reverse(befores)) undo(before);
  close_batch();
}

void QueueCore::Impl::undo(const BeforeImage& before) {
  TaskRecord& record = tasks[before.task];
  index.take_out(before.task);
  timers.cancel(before.task);
  if (record.data.run != kNoIndex && record.data.run != before.data.run) {
    runs.remove(record.data.run);
  }
  if (before.created) {
    index.detach(before.task);
    tasks.remove(before.task);
    return;
  }
  record.before_image = kNoIndex;
  record.data = before.data;
  index.put_in(before.task);
  // Heartbeats are not undone: a lease that was renewed meanwhile has its new end.
  const bool is_running = before.data.state == TaskState::running;
  set_timer(before.task, is_running ? runs[before.data.run].lease_end : before.timer);
}

void QueueCore::Impl::close_batch() {
  befores.clear();
  open_models.clear();
  open_lanes.clear();
  changes.clear();
  lost.clear();
  is_resuming = false;
}

}  // namespace quern
