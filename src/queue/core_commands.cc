// The commands: what they ask of a task, and what becomes of it.

#include <algorithm>
#include <cmath>

#include "base/assert.h"
#include "queue/core_impl.h"
#include "task/fair_rank.h"
#include "task/start_timeout.h"
#include "task/task_state.h"

namespace quern {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr double kRunSmoothing = 0.1;          // weight of the latest observed run in the mean
constexpr double kOddRun = 10;                 // as many times the mean
constexpr double kOddRunSecondsMin = 0.1;      // of the mean: what is below a second is never odd
constexpr milliseconds kRetryAfterMin{1'000};  // for a full queue
constexpr milliseconds kRetryAfterMax{60'000};
/// Tasks that one claim ends because they are past their start deadline, or that give way.
constexpr std::uint32_t kPassedOverMax = 1'000;

std::unexpected<Error> lease_lost() {
  return fail(ErrorCode::lease_lost, "The lease is no longer the task's current one");
}

std::unexpected<Error> unserved() {
  return fail(ErrorCode::invalid_argument, std::string(kTextUnserved));
}

/// Many tasks may share the chance of one tick.
std::uint64_t mix(std::uint64_t chance, std::uint64_t n) {
  std::uint64_t x = chance + n * 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31U);
}

}  // namespace

// ---- submit ------------------------------------------------------------------------------------

Result<void> QueueCore::Impl::admit(const ModelQueue& model, const Key& key) const {
  if (!model.served) return unserved();
  const std::uint64_t waiting = index.working_queued(model);
  if (waiting >= model.policy.queued_max)
    return refuse(model, slots_of(model), waiting - model.policy.queued_max + 1);
  if (key.queued >= key.policy.queued_max)
    return refuse(model, places_of(key, model), key.queued - key.policy.queued_max + 1);
  return {};
}

/// Full: tells the caller to come back when about `too_many` tasks have started, which run on so many
/// places at once.
std::unexpected<Error> QueueCore::Impl::refuse(const ModelQueue& model, std::uint64_t places,
                                               std::uint64_t too_many) const {
  const double seconds = model.state.run_seconds.value_or(0) * static_cast<double>(too_many) /
                         static_cast<double>(places);
  const double capped = std::min(seconds * 1'000, static_cast<double>(kRetryAfterMax.count()));
  const milliseconds retry_after{static_cast<std::int64_t>(capped)};
  return fail(ErrorCode::rate_limited, "Queue is full", std::max(retry_after, kRetryAfterMin));
}

Result<std::uint64_t> QueueCore::Impl::submit(const NewTask& task, Now now) {
  ModelQueue& model = index.model(task.model);
  Key& key = index.key(task.key);
  if (Result<void> admitted = admit(model, key); !admitted) return fail(std::move(admitted));
  const std::uint64_t waiting = index.working_queued(model);
  if (task.model_queued_max && waiting > *task.model_queued_max) {
    return refuse(model, slots_of(model), waiting - *task.model_queued_max);
  }

  TaskRecord record{
      .id = task.id, .priority = task.priority, .no_retry = task.no_retry, .submitted = now.wall};
  std::optional<SteadyTime> timer;
  if (task.start_timeout) {
    const milliseconds timeout =
        std::clamp<milliseconds>(*task.start_timeout, milliseconds{0}, kStartTimeoutMax);
    record.data.due_kind = DueKind::start_deadline;
    record.data.due = now.wall + timeout;
    timer = now.steady + timeout;
  }
  const TaskIndex created = create(record, model, key, {.kind = Change::Kind::submitted});
  set_timer(created, timer);
  return index.working_position(created);
}

Result<void> QueueCore::Impl::requeue(const TaskRow& row) {
  const TaskIndex live = tasks.find(row.id);
  if (live != kNoIndex && is_terminal(tasks[live].data.state)) {
    return fail(ErrorCode::unavailable, "The task is just ending, try again", kRetryAfterMin);
  }
  const bool has_ended = is_terminal(row.state) && is_legal_move(row.state, TaskState::queued);
  if (live != kNoIndex || !has_ended) {
    return fail(ErrorCode::conflict, "Only a failed or canceled task can be retried");
  }
  ModelQueue& model = index.model(row.model);
  Key& key = index.key(row.key);
  if (Result<void> admitted = admit(model, key); !admitted) return admitted;
  const TaskRecord record{
      .id = row.id, .priority = row.priority, .no_retry = row.no_retry, .submitted = row.submitted};
  create(record, model, key, {.kind = Change::Kind::requeued});
  return {};
}

// ---- claim -------------------------------------------------------------------------------------

void QueueCore::Impl::claim(ModelQueue& model, std::uint32_t count_max, milliseconds lease_ttl,
                            Now now, std::vector<Claimed>& out) {
  if (model.paused) return;
  std::uint32_t passed_over = 0;
  for (std::uint32_t taken = 0; taken < count_max;) {
    const TaskIndex task = index.first_claimable(model);
    if (task == kNoIndex) return;
    if (passed_over == kPassedOverMax) {
      index.list_claimable(model);  // so that someone comes back for the rest
      return;
    }
    if (is_late(task, now)) {
      on_timer(task, now, 0);
      ++passed_over;
    } else if (index.give_way(task)) {
      ++passed_over;
    } else {
      out.push_back(start(task, lease_ttl, now));
      ++taken;
    }
  }
}

bool QueueCore::Impl::is_late(TaskIndex task, Now now) const {
  return tasks[task].data.due_kind == DueKind::start_deadline &&
         timers.due(task).value_or(SteadyTime::max()) <= now.steady;
}

Claimed QueueCore::Impl::start(TaskIndex task, milliseconds lease_ttl, Now now) {
  const TaskRecord& record = tasks[task];
  Lane& lane = open(record.data.lane);
  ++lane.key->claims;
  lane.key->times_gave_way = 0;
  const double finish = finish_tag(record.rank, lane.key->policy.weight);
  lane.last_finish = std::max(lane.last_finish, finish);
  ModelState& model = open(*lane.model);
  model.clocks[side_of(record.priority)].on_claimed(record.rank, finish);
  ++model.claims;

  const milliseconds ttl = std::max(lease_ttl, milliseconds{0});
  TaskData next = record.data;
  next.state = TaskState::running;
  next.due_kind = DueKind::none;
  const bool has_deadline = record.data.due_kind == DueKind::start_deadline;
  next.run = runs.add({.token = ++last_token,
                       .started = now.steady,
                       .lease_end = now.steady + ttl,
                       .lease_ttl = ttl,
                       .start_deadline = has_deadline ? timers.due(task) : std::nullopt});
  ++next.attempts_started;
  change(task, next, now.steady + ttl);
  record_change(task, {.kind = Change::Kind::started, .attempt_token = last_token});
  return {.lease = {.task = record.id, .token = last_token},
          .key = lane.key->index,
          .attempt = next.attempts_started,
          .submitted = record.submitted,
          .key_is_limited = lane.key->policy.running_max > 0};
}

// ---- under a lease -----------------------------------------------------------------------------

Result<bool> QueueCore::Impl::heartbeat(const Lease& lease, std::optional<double> progress,
                                        Now now) {
  const TaskIndex task = tasks.find(lease.task);
  const TaskData* data = task == kNoIndex ? nullptr : committed(task);
  if (data == nullptr || data->state != TaskState::running) return lease_lost();
  TaskRun& run = runs[data->run];
  if (run.token != lease.token || run.crashed) return lease_lost();

  run.lease_end = now.steady + run.lease_ttl;
  if (progress && !std::isnan(*progress)) run.progress = std::clamp(*progress, 0.0, 1.0);
  if (tasks[task].data.run == data->run) timers.set(task, run.lease_end);
  return data->cancel_requested;
}

Result<TaskState> QueueCore::Impl::finish(const Lease& lease, const AttemptReport& report, Now now,
                                          std::uint64_t chance) {
  const TaskIndex task = tasks.find(lease.task);
  if (task == kNoIndex || tasks[task].data.state != TaskState::running) return lease_lost();
  const TaskRun& run = runs[tasks[task].data.run];
  if (run.token != lease.token || run.crashed) return lease_lost();
  return end_attempt(task, report, fate_of(report.end), now, chance);
}

TaskState QueueCore::Impl::end_attempt(TaskIndex task, const AttemptReport& report,
                                       AttemptFate fate, Now now, std::uint64_t chance) {
  const TaskRecord& record = tasks[task];
  const ModelQueue& model = *index.lane_of(task).model;
  const RunIndex run = record.data.run;
  const Verdict verdict = judge_attempt({.fate = fate,
                                         .error_type = report.error_type,
                                         .retryable = report.retryable,
                                         .cancel_requested = record.data.cancel_requested,
                                         .retry_allowed = !record.no_retry && model.policy.retry,
                                         .attempts_started = record.data.attempts_started,
                                         .attempts_max = model.policy.attempts_max});
  const Cause cause{.attempt_result = to_string(fate), .attempt_token = runs[run].token};
  observe_run(task, fate, now);
  if (verdict.state != TaskState::queued) {
    end(task, {verdict.state, verdict.error_type, verdict.error}, cause, now);
  } else if (model.served) {
    const bool is_unstarted = report.end == AttemptEnd::unstarted;
    queue_again(task, verdict, is_unstarted ? runs[run].start_deadline : std::nullopt, cause, now,
                chance);
  } else {
    end(task, {TaskState::failed, ErrorType::internal_server_error, kTextUnserved}, cause, now);
  }
  drop_run(task, run);
  return record.data.state;
}

void QueueCore::Impl::queue_again(TaskIndex task, const Verdict& verdict,
                                  std::optional<SteadyTime> start_deadline, Cause cause, Now now,
                                  std::uint64_t chance) {
  const ModelPolicy& policy = index.lane_of(task).model->policy;
  TaskData next = tasks[task].data;
  next.state = TaskState::queued;
  next.run = kNoIndex;
  std::optional<SteadyTime> timer;
  if (!verdict.spent) --next.attempts_started;
  if (verdict.backoff) {
    const microseconds wait =
        backoff_time(next.attempts_started, policy.backoff_min, policy.backoff_max, chance);
    next.due_kind = DueKind::not_before;
    next.due = now.wall + wait;
    next.waiting = wait.count() > 0;
    if (next.waiting) timer = now.steady + wait;
  } else if (start_deadline) {
    next.due_kind = DueKind::start_deadline;  // `due` is still that of before the start
    timer = start_deadline;
  }
  change(task, next, timer);
  cause.kind = Change::Kind::attempt_ended;
  record_change(task, cause);
}

void QueueCore::Impl::end(TaskIndex task, const End& how, Cause cause, Now now) {
  TaskData next = tasks[task].data;
  next.state = how.state;
  next.run = kNoIndex;
  next.due_kind = DueKind::none;
  next.waiting = false;
  change(task, next, std::nullopt);
  cause.kind = Change::Kind::ended;
  record_change(task, cause);
  Change& change = changes.back();
  change.error = how.error;
  change.row.ended = now.wall;
  change.row.error_type = how.error_type;
  change.row.start_timed_out = how.start_timed_out;
}

/// A run that was cut short tells nothing of how long they take. The first ones, one a slot, may be
/// cold: they count only until there are others. Of many, an odd one makes the mean twice as long at
/// most.
void QueueCore::Impl::observe_run(TaskIndex task, AttemptFate fate, Now now) {
  if (fate != AttemptFate::succeeded && fate != AttemptFate::failed) return;
  const std::chrono::duration<double> ran = now.steady - runs[tasks[task].data.run].started;
  ModelQueue& model = *index.lane_of(task).model;
  ModelState& state = open(model);
  const std::uint64_t first = slots_of(model);
  ++state.runs;
  const std::uint64_t like_it = state.runs > first ? state.runs - first : state.runs;
  const double weight = std::max(kRunSmoothing, 1 / static_cast<double>(like_it));
  const double mean = state.run_seconds.value_or(0);
  const double longest = kOddRun * std::max(mean, kOddRunSecondsMin);
  const double seconds = weight > kRunSmoothing ? ran.count() : std::min(ran.count(), longest);
  state.run_seconds = mean + weight * (seconds - mean);
}

// ---- cancel and other ends ---------------------------------------------------------------------

Result<TaskState> QueueCore::Impl::cancel(const TaskId& id, Now now) {
  const TaskIndex task = tasks.find(id);
  if (task == kNoIndex || is_terminal(tasks[task].data.state)) {
    return fail(ErrorCode::not_found, "No such live task");
  }
  TaskData& data = tasks[task].data;
  if (data.state == TaskState::queued) {
    end(task, {TaskState::canceled, ErrorType::canceled, kTextCanceled}, {}, now);
  } else if (!data.cancel_requested) {
    touch(task);
    data.cancel_requested = true;
    record_change(task, {.kind = Change::Kind::cancel_marked});
  }
  return data.state;
}

std::size_t QueueCore::Impl::end_unserved(ModelQueue& model, std::size_t count_max, Now now) {
  model.served = false;
  std::size_t ended = 0;
  for (; ended < count_max; ++ended) {
    const TaskIndex task = index.first_queued(model);
    if (task == kNoIndex) break;
    end(task, {TaskState::failed, ErrorType::internal_server_error, kTextUnserved}, {}, now);
  }
  return ended;
}

void QueueCore::Impl::tick(Now now, std::uint64_t chance, std::size_t count_max) {
  for (std::size_t i = 0; i < count_max; ++i) {
    const std::optional<SteadyTime> due = timers.next_due();
    if (!due || *due > now.steady) return;
    on_timer(timers.first(), now, mix(chance, i));
  }
}

void QueueCore::Impl::on_timer(TaskIndex task, Now now, std::uint64_t chance) {
  const TaskRecord& record = tasks[task];
  if (record.data.state == TaskState::running) {
    const TaskRun& run = runs[record.data.run];
    if (!run.crashed) lost.push_back({.task = record.id, .token = run.token});
    end_attempt(task, {}, run.crashed ? AttemptFate::crashed : AttemptFate::lost, now, chance);
  } else if (record.data.due_kind == DueKind::start_deadline) {
    end(task, {TaskState::failed, ErrorType::inference_timeout, kTextNotStarted, true}, {}, now);
  } else {
    TaskData next = record.data;  // the backoff is over; nothing to store, the row has its time
    next.waiting = false;
    change(task, next, std::nullopt);
  }
}

}  // namespace quern
