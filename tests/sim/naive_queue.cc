#include "naive_queue.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "check.h"

namespace quern::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

bool is_before(const NaiveTask& a, const NaiveTask& b) {
  if (a.row.priority != b.row.priority) return a.row.priority < b.row.priority;
  if (a.row.rank != b.row.rank) return a.row.rank < b.row.rank;
  return a.row.id < b.row.id;
}

Line line_of(const TaskRow& row) { return {row.model, row.priority}; }

bool is_terminal_type(ErrorType type) {
  return type == ErrorType::request_invalid || type == ErrorType::content_blocked ||
         type == ErrorType::inference_timeout;
}

}  // namespace

// ---- recovery ----------------------------------------------------------------------------------

void NaiveQueue::restore(const TaskRow& row, Now now) {
  NaiveTask task{.row = row};
  if (row.state == TaskState::running) {
    task.crashed = true;
    task.timer = now.steady;
  } else if (row.not_before) {
    task.waiting = *row.not_before > now.wall;
    if (task.waiting) task.timer = now.steady + (*row.not_before - now.wall);
  } else if (row.start_deadline) {
    const microseconds longest = *row.start_deadline - row.submitted;
    const microseconds left = std::min<microseconds>(*row.start_deadline - now.wall, longest);
    task.timer = now.steady + std::max<microseconds>(left, microseconds{0});
  }
  working_.tasks[row.id] = task;
  committed_ = working_;
}

void NaiveQueue::resume(Now now) {
  if (!resumed_) {
    for (auto& [id, task] : working_.tasks) {
      if (task.row.attempts_started > 0) charge(task.row);
      const SteadyTime latest = now.steady + models[task.row.model].policy.backoff_max;
      if (task.waiting) task.timer = std::min(*task.timer, latest);
    }
    for (auto& [index, model] : models) {
      guess_virtual_time({index, Priority::normal});
      guess_virtual_time({index, Priority::low});
    }
    committed_ = working_;
    resumed_ = true;
  }
  // Ids ascend with age, and the map is in their order.
  for (auto& [id, task] : working_.tasks) task.entered = ++entered_;
  for (auto& [id, task] : committed_.tasks) task.entered = working_.tasks[id].entered;

  std::vector<TaskId> crashed;
  for (auto& [id, task] : working_.tasks) {
    if (task.crashed) crashed.push_back(id);
  }
  for (const TaskId& id : crashed) end_attempt(working_.tasks[id], Fate::crashed, {}, now);
}

// ---- submit ------------------------------------------------------------------------------------

bool NaiveQueue::is_full(ModelIndex model, KeyIndex key) {
  std::uint64_t of_key = 0;
  for (auto& [id, task] : working_.tasks) {
    of_key += task.row.key == key && task.row.state == TaskState::queued ? 1U : 0U;
  }
  return of_key >= keys[key].queued_max ||
         count(working_, model, TaskState::queued) >= models[model].policy.queued_max;
}

/// Where the key's last task of this line ends that was claimed or stands in line, but not before
/// the virtual time; and a line that is empty begins where everyone's tasks have ended.
double NaiveQueue::next_rank(Line line, KeyIndex key) {
  bool is_empty = true;
  double ends = working_.served_to[{line, key}];
  for (auto& [id, task] : working_.tasks) {
    if (line_of(task.row) != line) continue;
    is_empty = false;
    if (task.row.key == key && task.row.state == TaskState::queued && !task.waiting) {
      ends = std::max(ends, task.row.rank + 1 / keys[key].weight);
    }
  }
  double& virtual_time = working_.virtual_time[line];
  for (auto& [whose, served_to] : working_.served_to) {
    if (is_empty && whose.first == line) virtual_time = std::max(virtual_time, served_to);
  }
  return std::max(virtual_time, ends);
}

/// A task is claimed: the virtual time comes to it, and its key is served to its end.
void NaiveQueue::charge(const TaskRow& row) {
  double& virtual_time = working_.virtual_time[line_of(row)];
  virtual_time = std::max(virtual_time, row.rank);
  double& served_to = working_.served_to[{line_of(row), row.key}];
  served_to = std::max(served_to, row.rank + 1 / keys[row.key].weight);
}

/// From the first task of each key that never started: it cannot be more than one share before it,
/// nor, if nothing keeps the key's tasks from running, after it.
void NaiveQueue::guess_virtual_time(Line line) {
  std::map<KeyIndex, double> first;
  for (auto& [id, task] : working_.tasks) {
    if (line_of(task.row) != line || task.row.attempts_started > 0) continue;
    const auto [at, is_new] = first.try_emplace(task.row.key, task.row.rank);
    if (!is_new) at->second = std::min(at->second, task.row.rank);
  }
  double guess = 0;
  for (auto& [key, rank] : first) guess = std::max(guess, rank - 1 / keys[key].weight);
  for (auto& [key, rank] : first) {
    if (keys[key].running_max == 0) guess = std::min(guess, rank);
  }
  double& virtual_time = working_.virtual_time[line];
  virtual_time = std::max(virtual_time, guess);
}

NaiveTask& NaiveQueue::add(const TaskRow& row, Change::Kind kind) {
  const double rank = next_rank(line_of(row), row.key);
  NaiveTask& task = working_.tasks[row.id];
  task = {.row = row, .entered = ++entered_};
  task.row.rank = rank;
  changes_.push_back({.kind = kind, .row = task.row, .attempt_result = {}, .error = {}});
  return task;
}

std::optional<std::uint64_t> NaiveQueue::submit(const NewTask& task, Now now) {
  if (!models[task.model].served || is_full(task.model, task.key)) return std::nullopt;
  if (task.model_queued_max &&
      count(working_, task.model, TaskState::queued) > *task.model_queued_max) {
    return std::nullopt;
  }
  TaskRow row{.id = task.id,
              .key = task.key,
              .model = task.model,
              .priority = task.priority,
              .no_retry = task.no_retry,
              .submitted = now.wall};
  if (task.start_timeout) row.start_deadline = now.wall + *task.start_timeout;
  NaiveTask& added = add(row, Change::Kind::submitted);
  if (task.start_timeout) added.timer = now.steady + *task.start_timeout;
  return position(working_, added);
}

bool NaiveQueue::requeue(const TaskRow& row) {
  const bool was_ended = row.state == TaskState::failed || row.state == TaskState::canceled;
  if (!was_ended || working_.tasks.contains(row.id) || committed_.tasks.contains(row.id))
    return false;
  for (const Change& change : changes_) {
    if (change.row.id == row.id) return false;
  }
  if (!models[row.model].served || is_full(row.model, row.key)) return false;
  add({.id = row.id,
       .key = row.key,
       .model = row.model,
       .priority = row.priority,
       .no_retry = row.no_retry,
       .submitted = row.submitted},
      Change::Kind::requeued);
  return true;
}

// ---- claim -------------------------------------------------------------------------------------

std::uint64_t NaiveQueue::running_of(KeyIndex key) const {
  std::uint64_t running = 0;
  for (auto& [id, task] : working_.tasks) {
    running += task.row.key == key && task.row.state == TaskState::running ? 1U : 0U;
  }
  return running;
}

NaiveTask* NaiveQueue::choice(ModelIndex model) {
  const bool low_first = working_.claims[model] % 10 == 9;
  NaiveTask* best = nullptr;
  for (auto& [id, task] : working_.tasks) {
    if (task.row.model != model || task.row.state != TaskState::queued || task.waiting) continue;
    if (giving_way_.contains({line_of(task.row), task.row.key})) continue;
    const std::uint32_t running_max = keys[task.row.key].running_max;
    if (running_max > 0 && running_of(task.row.key) >= running_max) continue;
    const bool is_better = best == nullptr || (task.row.priority == best->row.priority
                                                   ? is_before(task, *best)
                                                   : is_before(task, *best) != low_first);
    if (is_better) best = &task;
  }
  return best;
}

const NaiveTask* NaiveQueue::first_of(Line line, KeyIndex key) const {
  const NaiveTask* first = nullptr;
  for (auto& [id, task] : working_.tasks) {
    if (line_of(task.row) != line || task.row.key != key) continue;
    if (task.row.state != TaskState::queued || task.waiting) continue;
    if (first == nullptr || is_before(task, *first)) first = &task;
  }
  return first;
}

/// The places that its key has left are for tasks of other models that could start: the oldest first,
/// but normal priority before low, and every tenth time the other way round. Nobody gives way for
/// more than three batches without a claim of the key.
bool NaiveQueue::gives_way(const NaiveTask& task) {
  const KeyIndex key = task.row.key;
  if (keys[key].running_max == 0) return false;
  const bool low_first = claims_of_[key] % 10 == 9;
  std::uint64_t before = 0;
  for (const auto& [index, model] : models) {
    if (index == task.row.model || !model.served || model.paused) continue;
    if (count(working_, index, TaskState::running) >= model.policy.slots) continue;
    for (const Priority priority : {Priority::normal, Priority::low}) {
      const NaiveTask* other = first_of({index, priority}, key);
      if (other == nullptr) continue;
      before += priority == task.row.priority ? other->row.id < task.row.id
                                              : (priority == Priority::low) == low_first;
    }
  }
  if (running_of(key) + before < keys[key].running_max) return false;

  const bool is_first_of_batch =
      std::ranges::none_of(giving_way_, [&](const Lane& lane) { return lane.second == key; });
  if (is_first_of_batch && times_gave_way_[key] == 3) return false;
  times_gave_way_[key] += is_first_of_batch ? 1 : 0;
  giving_way_.insert({line_of(task.row), key});
  return true;
}

std::vector<Claimed> NaiveQueue::claim(ModelIndex model, std::uint32_t count_max,
                                       milliseconds lease_ttl, Now now) {
  std::vector<Claimed> out;
  if (models[model].paused) return out;
  while (out.size() < count_max) {
    NaiveTask* task = choice(model);
    if (task == nullptr) return out;
    if (task->row.start_deadline && *task->timer <= now.steady) {
      on_timer(*task, now);
      continue;
    }
    if (gives_way(*task)) continue;
    ++claims_of_[task->row.key];
    times_gave_way_[task->row.key] = 0;
    charge(task->row);
    ++working_.claims[model];
    task->row.state = TaskState::running;
    task->row.lease_token = ++last_token_;
    task->met_deadline.reset();
    if (task->row.start_deadline) {
      task->met_deadline.emplace(*task->row.start_deadline, *task->timer);
    }
    task->row.start_deadline.reset();
    task->row.not_before.reset();
    ++task->row.attempts_started;
    task->lease_ttl = lease_ttl;
    task->timer = now.steady + lease_ttl;
    task->progress.reset();
    changes_.push_back({.kind = Change::Kind::started,
                        .row = task->row,
                        .attempt_result = {},
                        .error = {},
                        .attempt_token = last_token_});
    out.push_back({.lease = {.task = task->row.id, .token = last_token_},
                   .key = task->row.key,
                   .attempt = task->row.attempts_started,
                   .submitted = task->row.submitted,
                   .key_is_limited = keys[task->row.key].running_max > 0});
  }
  return out;
}

// ---- under a lease -----------------------------------------------------------------------------

NaiveTask* NaiveQueue::running_under(NaiveState& state, const Lease& lease) {
  const auto it = state.tasks.find(lease.task);
  if (it == state.tasks.end() || it->second.row.state != TaskState::running) return nullptr;
  if (it->second.row.lease_token != lease.token || it->second.crashed) return nullptr;
  return &it->second;
}

std::optional<bool> NaiveQueue::heartbeat(const Lease& lease, std::optional<double> progress,
                                          Now now) {
  NaiveTask* task = running_under(committed_, lease);
  if (task == nullptr) return std::nullopt;
  for (NaiveTask* beaten : {task, running_under(working_, lease)}) {
    if (beaten == nullptr) continue;
    beaten->timer = now.steady + beaten->lease_ttl;
    if (progress) beaten->progress = *progress;
  }
  return task->row.cancel_requested;
}

std::optional<TaskState> NaiveQueue::finish(const Lease& lease, const AttemptReport& report,
                                            Now now, std::span<const Change> core_changes) {
  core_changes_ = core_changes;
  NaiveTask* task = running_under(working_, lease);
  if (task == nullptr) return std::nullopt;
  const Fate fates[] = {Fate::succeeded, Fate::failed, Fate::canceled, Fate::released,
                        Fate::released};
  if (report.end != AttemptEnd::unstarted) task->met_deadline.reset();
  end_attempt(*task, fates[static_cast<int>(report.end)], report, now);
  const auto left = working_.tasks.find(lease.task);
  return left != working_.tasks.end() ? TaskState::queued : changes_.back().row.state;
}

void NaiveQueue::end_attempt(NaiveTask& task, Fate fate, const AttemptReport& report, Now now) {
  constexpr std::string_view kResults[] = {"succeeded", "failed", "canceled",
                                           "released",  "lost",   "crashed"};
  const std::string_view result = kResults[static_cast<int>(fate)];
  const NaiveModel& model = models[task.row.model];
  const TaskId id = task.row.id;
  const bool canceled = task.row.cancel_requested;
  const bool is_final =
      fate == Fate::failed && (!report.retryable || is_terminal_type(report.error_type));
  const bool no_retry = task.row.no_retry || !model.policy.retry;
  const bool is_last = no_retry || task.row.attempts_started >= model.policy.attempts_max;

  if (fate == Fate::succeeded || fate == Fate::failed) working_.observed[task.row.model] = true;
  if (fate == Fate::succeeded) {
    end(id, TaskState::succeeded, ErrorType::none, "", result, now);
  } else if (fate == Fate::canceled || (canceled && !is_final)) {
    end(id, TaskState::canceled, ErrorType::canceled, "Task canceled", result, now);
  } else if (fate == Fate::failed && (is_final || is_last)) {
    end(id, TaskState::failed, report.error_type, "", result, now);
  } else if (fate == Fate::lost && is_last) {
    end(id, TaskState::failed, ErrorType::inference_failure,
        "Task execution failed: its runner was lost", result, now);
  } else if (fate == Fate::crashed && is_last) {
    end(id, TaskState::failed, ErrorType::internal_server_error, "Task execution failed", result,
        now);
  } else if (!model.served) {
    end(id, TaskState::failed, ErrorType::internal_server_error, "Model is no longer served",
        result, now);
  } else {
    queue_again(task, fate, result, now);
  }
}

void NaiveQueue::queue_again(NaiveTask& task, Fate fate, std::string_view result, Now now) {
  const std::uint64_t token = task.row.lease_token;
  task.row.state = TaskState::queued;
  task.row.lease_token = 0;
  task.crashed = false;
  task.timer.reset();
  if (fate == Fate::released) --task.row.attempts_started;
  if (fate == Fate::failed || fate == Fate::lost) {
    const microseconds wait = agreed_backoff(task, now);
    task.row.not_before = now.wall + wait;
    task.waiting = wait.count() > 0;
    if (task.waiting) task.timer = now.steady + wait;
  } else if (fate == Fate::released && task.met_deadline) {
    std::tie(task.row.start_deadline, task.timer) = *task.met_deadline;
  }
  changes_.push_back({.kind = Change::Kind::attempt_ended,
                      .row = task.row,
                      .attempt_result = result,
                      .error = {},
                      .attempt_token = token});
}

microseconds NaiveQueue::agreed_backoff(const NaiveTask& task, Now now) const {
  check(changes_.size() < core_changes_.size(), "the core has a change for each of ours");
  const TaskRow& row = core_changes_[changes_.size()].row;
  check(row.id == task.row.id && row.not_before.has_value(),
        "a failed attempt is followed by a backoff");
  const ModelPolicy& policy = models.at(task.row.model).policy;
  const double doubled = static_cast<double>(policy.backoff_min.count()) *
                         std::pow(2.0, task.row.attempts_started - 1);
  const double cap = std::min(doubled, static_cast<double>(policy.backoff_max.count()));
  const microseconds wait = *row.not_before - now.wall;
  check(wait.count() >= 0 && static_cast<double>(wait.count()) <= cap * 1'000,
        "a backoff is within its bounds");
  return wait;
}

void NaiveQueue::end(TaskId id, TaskState state, ErrorType type, std::string_view text,
                     std::string_view result, Now now, bool start_timed_out) {
  TaskRow row = working_.tasks.at(id).row;
  working_.tasks.erase(id);
  const std::uint64_t token = row.lease_token;
  row.state = state;
  row.error_type = type;
  row.ended = now.wall;
  row.lease_token = 0;
  row.start_timed_out = start_timed_out;
  row.start_deadline.reset();
  row.not_before.reset();
  changes_.push_back({.kind = Change::Kind::ended,
                      .row = row,
                      .attempt_result = result,
                      .error = text,
                      .attempt_token = token});
}

// ---- cancel and other ends ---------------------------------------------------------------------

std::optional<TaskState> NaiveQueue::cancel(const TaskId& id, Now now) {
  const auto it = working_.tasks.find(id);
  if (it == working_.tasks.end()) return std::nullopt;
  NaiveTask& task = it->second;
  if (task.row.state == TaskState::queued) {
    end(id, TaskState::canceled, ErrorType::canceled, "Task canceled", "", now);
    return TaskState::canceled;
  }
  if (!task.row.cancel_requested) {
    task.row.cancel_requested = true;
    changes_.push_back(
        {.kind = Change::Kind::cancel_marked, .row = task.row, .attempt_result = {}, .error = {}});
  }
  return TaskState::running;
}

std::size_t NaiveQueue::end_unserved(ModelIndex model, std::size_t count_max, Now now) {
  models[model].served = false;
  std::size_t ended = 0;
  for (; ended < count_max; ++ended) {
    const NaiveTask* first = nullptr;
    for (auto& [id, task] : working_.tasks) {
      if (task.row.model != model || task.row.state != TaskState::queued) continue;
      if (first == nullptr || is_before(task, *first)) first = &task;
    }
    if (first == nullptr) return ended;
    end(first->row.id, TaskState::failed, ErrorType::internal_server_error,
        "Model is no longer served", "", now);
  }
  return ended;
}

void NaiveQueue::tick(Now now, std::size_t count_max, std::span<const Change> core_changes) {
  core_changes_ = core_changes;
  for (std::size_t i = 0; i < count_max; ++i) {
    NaiveTask* first = nullptr;
    for (auto& [id, task] : working_.tasks) {
      if (!task.timer || *task.timer > now.steady) continue;
      if (first == nullptr || *task.timer < *first->timer) first = &task;
    }
    if (first == nullptr) return;
    on_timer(*first, now);
  }
}

void NaiveQueue::on_timer(NaiveTask& task, Now now) {
  if (task.row.state == TaskState::running) {
    if (!task.crashed) lost_.push_back({.task = task.row.id, .token = task.row.lease_token});
    end_attempt(task, task.crashed ? Fate::crashed : Fate::lost, {}, now);
  } else if (task.waiting) {
    task.waiting = false;
    task.timer.reset();
  } else {
    end(task.row.id, TaskState::failed, ErrorType::inference_timeout,
        "Task was not started in time", "", now, true);
  }
}

// ---- batch -------------------------------------------------------------------------------------

void NaiveQueue::commit() {
  committed_ = working_;
  changes_.clear();
  lost_.clear();
  giving_way_.clear();
}

void NaiveQueue::rollback() {
  working_ = committed_;
  changes_.clear();
  lost_.clear();
  giving_way_.clear();
}

// ---- looking -----------------------------------------------------------------------------------

std::uint64_t NaiveQueue::position(const NaiveState& state, const NaiveTask& task) {
  std::uint64_t before = 0;
  for (auto& [id, other] : state.tasks) {
    if (other.row.model != task.row.model || other.row.state != TaskState::queued) continue;
    before += is_before(other, task) ? 1U : 0U;
  }
  return before;
}

std::uint64_t NaiveQueue::count(const NaiveState& state, std::optional<ModelIndex> model,
                                TaskState in) {
  std::uint64_t found = 0;
  for (auto& [id, task] : state.tasks) {
    found += task.row.state == in && (!model || task.row.model == *model) ? 1U : 0U;
  }
  return found;
}

bool NaiveQueue::shares_places(const NaiveTask& task) const {
  std::uint64_t of_key = 0;
  bool is_elsewhere = false;
  for (auto& [id, other] : working_.tasks) {
    if (other.row.key != task.row.key) continue;
    ++of_key;
    const NaiveModel& model = models.at(other.row.model);
    const bool may_start = !other.waiting && model.served && !model.paused;
    if (other.row.model != task.row.model && (other.row.state == TaskState::running || may_start)) {
      is_elsewhere = true;
    }
  }
  const std::uint32_t limit = keys.at(task.row.key).running_max;
  return limit > 0 && of_key > limit && is_elsewhere;
}

std::optional<WallTime> NaiveQueue::oldest_queued(ModelIndex model) const {
  const NaiveTask* oldest = nullptr;
  for (auto& [id, task] : committed_.tasks) {
    if (task.row.model != model || task.row.state != TaskState::queued) continue;
    if (oldest == nullptr || task.entered < oldest->entered) oldest = &task;
  }
  if (oldest == nullptr) return std::nullopt;
  return oldest->row.submitted;
}

std::optional<SteadyTime> NaiveQueue::next_due() const {
  std::optional<SteadyTime> next;
  for (auto& [id, task] : working_.tasks) {
    if (task.timer && (!next || *task.timer < *next)) next = task.timer;
  }
  return next;
}

}  // namespace quern::sim
