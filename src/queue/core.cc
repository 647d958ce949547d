#include "queue/core.h"

#include <algorithm>

#include "queue/core_impl.h"

namespace quern {
namespace {

/// How many runs go by, one after the other, before the task at `position` has one of the places.
double runs_before(std::uint64_t position, std::uint64_t places, std::uint64_t taken) {
  const std::uint64_t free = places - std::min(places, taken);
  const std::uint64_t must_end = position + 1 - std::min(position + 1, free);
  return static_cast<double>(must_end) / static_cast<double>(places);
}

}  // namespace

QueueCore::QueueCore() : impl_(std::make_unique<Impl>()) {}
QueueCore::~QueueCore() = default;

// ---- policies ----------------------------------------------------------------------------------

void QueueCore::set_model(ModelIndex model, const ModelPolicy& policy) {
  ModelQueue& m = impl_->index.model(model);
  m.policy = policy;
  m.served = true;
}

void QueueCore::set_key(KeyIndex key, const KeyPolicy& policy) {
  impl_->index.set_key(impl_->index.key(key), policy);
}

void QueueCore::set_paused(ModelIndex model, bool paused) {
  impl_->index.set_paused(impl_->index.model(model), paused);
}

// ---- commands ----------------------------------------------------------------------------------

void QueueCore::restore_last_token(std::uint64_t token) {
  impl_->last_token = std::max(impl_->last_token, token);
}

void QueueCore::restore(const TaskRow& row, Now now) { impl_->restore(row, now); }

void QueueCore::resume(Now now) { impl_->resume(now); }

Result<std::uint64_t> QueueCore::submit(const NewTask& task, Now now) {
  return impl_->submit(task, now);
}

void QueueCore::claim(ModelIndex model, std::uint32_t count_max,
                      std::chrono::milliseconds lease_ttl, Now now, std::vector<Claimed>& out) {
  impl_->claim(impl_->index.model(model), count_max, lease_ttl, now, out);
}

Result<bool> QueueCore::heartbeat(const Lease& lease, std::optional<double> progress, Now now) {
  return impl_->heartbeat(lease, progress, now);
}

Result<TaskState> QueueCore::finish(const Lease& lease, const AttemptReport& report, Now now,
                                    std::uint64_t chance) {
  return impl_->finish(lease, report, now, chance);
}

Result<TaskState> QueueCore::cancel(const TaskId& id, Now now) { return impl_->cancel(id, now); }

Result<void> QueueCore::requeue(const TaskRow& row) { return impl_->requeue(row); }

std::size_t QueueCore::end_unserved(ModelIndex model, std::size_t count_max, Now now) {
  return impl_->end_unserved(impl_->index.model(model), count_max, now);
}

void QueueCore::tick(Now now, std::uint64_t chance, std::size_t count_max) {
  impl_->tick(now, chance, count_max);
}

std::optional<SteadyTime> QueueCore::next_due() const { return impl_->timers.next_due(); }

// ---- batch -------------------------------------------------------------------------------------

std::span<const Change> QueueCore::changes() const { return impl_->changes; }

std::span<const ModelIndex> QueueCore::claimable() const { return impl_->index.claimable(); }

std::span<const Lease> QueueCore::lost() const { return impl_->lost; }

void QueueCore::commit() { impl_->commit(); }

void QueueCore::rollback() { impl_->rollback(); }

// ---- looking -----------------------------------------------------------------------------------

std::optional<LiveTask> QueueCore::find(const TaskId& id) const {
  const TaskIndex task = impl_->tasks.find(id);
  if (task == kNoIndex) return std::nullopt;
  const TaskData* data = impl_->committed(task);
  if (data == nullptr) return std::nullopt;

  LiveTask live{.row = impl_->row_of(task, *data)};
  if (data->state == TaskState::queued) {
    live.position = impl_->index.committed_position(task);
    const ModelQueue& model = *impl_->index.lane_of(task).model;
    // Nobody knows when a pause ends; and what waits for its retry starts later than its place says.
    if (!model.paused && !data->waiting) live.eta = impl_->eta(task, live.position);
  } else {
    live.progress = impl_->runs[data->run].progress;
  }
  return live;
}

std::uint64_t QueueCore::queued(ModelIndex model) const {
  const ModelQueue* m = impl_->index.find_model(model);
  return m == nullptr ? 0 : impl_->index.committed_queued(*m);
}

std::uint64_t QueueCore::running(ModelIndex model) const {
  const ModelQueue* m = impl_->index.find_model(model);
  return m == nullptr ? 0 : m->running_committed;
}

std::optional<WallTime> QueueCore::oldest_queued(ModelIndex model) const {
  const ModelQueue* m = impl_->index.find_model(model);
  if (m == nullptr || impl_->index.committed_queued(*m) == 0) return std::nullopt;
  for (TaskIndex i = m->oldest; i != kNoIndex; i = impl_->tasks[i].newer) {
    const TaskData* data = impl_->committed(i);
    if (data != nullptr && data->state == TaskState::queued) return impl_->tasks[i].submitted;
  }
  return std::nullopt;
}

std::uint64_t QueueCore::queued() const { return impl_->queued_committed; }

std::uint64_t QueueCore::running() const { return impl_->running_committed; }

// ---- inside ------------------------------------------------------------------------------------

TaskRow QueueCore::Impl::row_of(TaskIndex task, const TaskData& data) const {
  const TaskRecord& record = tasks[task];
  const Lane& lane = index.lane_of(task);
  TaskRow row{.id = record.id,
              .key = lane.key->index,
              .model = lane.model->index,
              .state = data.state,
              .priority = record.priority,
              .no_retry = record.no_retry,
              .cancel_requested = data.cancel_requested,
              .attempts_started = data.attempts_started,
              .rank = record.rank,
              .submitted = record.submitted};
  if (data.run != kNoIndex) row.lease_token = runs[data.run].token;
  if (data.due_kind == DueKind::start_deadline) row.start_deadline = data.due;
  if (data.due_kind == DueKind::not_before) row.not_before = data.due;
  return row;
}

const TaskData* QueueCore::Impl::committed(TaskIndex task) const {
  const TaskRecord& record = tasks[task];
  if (record.before_image == kNoIndex) return &record.data;
  const BeforeImage& before = befores[record.before_image];
  return before.created ? nullptr : &before.data;
}

// The task starts when position + 1 slots have come free, beyond those that are free now; a slot
// comes free every run_seconds / slots. Where its key's limit may hold it back, so many of the key's
// own tasks must have ended as well. What its key does is known of the open batch only: near enough.
std::optional<double> QueueCore::Impl::eta(TaskIndex task, std::uint64_t position) const {
  const Lane& lane = index.lane_of(task);
  const ModelQueue& model = *lane.model;
  const ModelState& state = model.is_open ? model.saved : model.state;
  if (!state.run_seconds) return std::nullopt;
  const std::uint64_t slots = slots_of(model);
  const double by_model = runs_before(position, slots, model.running_committed);
  if (!ClaimIndex::may_be_held_back(*lane.key)) return *state.run_seconds * by_model;
  if (index.shares_places(lane)) return std::nullopt;
  const double by_key =
      runs_before(index.position_in_key(task), places_of(*lane.key, model), lane.key->running);
  return *state.run_seconds * std::max(by_model, by_key);
}

}  // namespace quern
