#include "history.h"

#include <algorithm>
#include <string>

#include "check.h"
#include "task/task_state.h"

namespace quern::sim {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint32_t kModels = 2;
constexpr std::uint32_t kKeys = 3;
constexpr std::uint64_t kStepsMax = 120;
constexpr std::size_t kTasksMax = 40;  // a history's, to keep the naive side quick
constexpr std::size_t kRoundsToTheEnd = 400;

bool same(const Change& a, const Change& b) {
  return a.kind == b.kind && a.row == b.row && a.attempt_result == b.attempt_result &&
         a.error == b.error && a.attempt_token == b.attempt_token;
}

bool same(const Claimed& a, const Claimed& b) {
  return a.lease == b.lease && a.key == b.key && a.attempt == b.attempt &&
         a.submitted == b.submitted && a.key_is_limited == b.key_is_limited;
}

}  // namespace

History::History(std::uint64_t seed, Tally& tally)
    : random_(seed),
      dice_(seed),
      tally_(tally),
      core_(std::make_unique<QueueCore>()),
      ids_(random_, 0),
      now_{WallTime{microseconds{1'770'000'000'000'000}}, SteadyTime{seconds{1'000}}} {
  for (std::uint32_t m = 0; m < kModels; ++m) {
    ModelPolicy& policy = naive_.models[ModelIndex{m}].policy;
    policy.queued_max = one_in(4) ? 5 : 100;
    policy.attempts_max = static_cast<std::uint32_t>(1 + draw(3));
    policy.slots = static_cast<std::uint32_t>(1 + draw(3));
    policy.retry = !one_in(6);
    policy.backoff_max = seconds{one_in(2) ? 3 : one_in(2) ? 60 : 600};
  }
  for (std::uint32_t k = 0; k < kKeys; ++k) {
    KeyPolicy& policy = naive_.keys[KeyIndex{k}];
    policy.queued_max = one_in(4) ? 4 : 100;
    policy.running_max = one_in(2) ? 0 : static_cast<std::uint32_t>(1 + draw(2));
    policy.weight = static_cast<double>(1 + draw(4)) / 2;
  }
  set_policies();
}

// ---- chance ------------------------------------------------------------------------------------

std::uint64_t History::draw(std::uint64_t below) { return dice_() % below; }

ModelIndex History::any_model() { return ModelIndex{static_cast<std::uint32_t>(draw(kModels))}; }

KeyIndex History::any_key() { return KeyIndex{static_cast<std::uint32_t>(draw(kKeys))}; }

TaskId History::any_id() {
  if (known_.empty() || one_in(20)) return {.high = draw(1'000), .low = draw(1'000)};
  return known_[draw(known_.size())];
}

// Often a current one, else mostly a recent one.
Lease History::any_lease() {
  std::vector<Lease> current;
  for (const auto& [id, task] : naive_.working().tasks) {
    if (task.row.lease_token != 0) current.push_back({.task = id, .token = task.row.lease_token});
  }
  if (!current.empty() && one_in(2)) return current[draw(current.size())];
  if (leases_.empty() || one_in(30)) return {.task = any_id(), .token = draw(50)};
  if (one_in(20)) return {.task = any_id(), .token = leases_[draw(leases_.size())].token};
  const std::size_t recent = std::min<std::size_t>(leases_.size(), one_in(3) ? 1'000 : 5);
  return leases_[leases_.size() - 1 - draw(recent)];
}

// ---- the world ---------------------------------------------------------------------------------

void History::run() {
  const std::uint64_t steps = 20 + draw(kStepsMax - 20);
  while (step_ < steps) {
    take_step();
    if (one_in(2)) end_batch();
  }
  live_out();
}

void History::take_step() {
  ++step_;
  ++tally_.steps;
  struct Deed {
    std::uint64_t weight;
    void (History::*what)();
  };
  static constexpr Deed kDeeds[] = {
      {24, &History::submit},       {20, &History::claim},         {8, &History::heartbeat},
      {20, &History::finish},       {7, &History::cancel},         {4, &History::requeue},
      {10, &History::tick},         {10, &History::let_time_pass}, {2, &History::jump_wall},
      {4, &History::change_policy}, {1, &History::unserve},        {2, &History::crash}};
  std::uint64_t at = draw(112);
  for (const Deed& deed : kDeeds) {
    if (at < deed.weight) {
      (this->*deed.what)();
      break;
    }
    at -= deed.weight;
  }
  compare_all();
}

void History::submit() {
  if (known_.size() >= kTasksMax) return;
  NewTask task{.id = ids_.next(now_.wall), .key = any_key(), .model = any_model()};
  if (one_in(3)) task.priority = Priority::low;
  task.no_retry = one_in(6);
  if (one_in(5)) task.start_timeout = milliseconds{draw(20'000)};
  if (one_in(8)) task.model_queued_max = draw(6);
  known_.push_back(task.id);

  const Result<std::uint64_t> got = core_->submit(task, now_);
  const std::optional<std::uint64_t> expected = naive_.submit(task, now_);

  check(got.has_value() == expected.has_value(), "a task is taken or refused by the limits");
  if (got) {
    check(*got == *expected, "a submit answers with the task's position");
    ++tally_.submitted;
    return;
  }
  ++tally_.refused;
  const bool served = naive_.models[task.model].served;
  check(got.error().code == (served ? ErrorCode::rate_limited : ErrorCode::invalid_argument),
        "a refusal says why");
  check(
      !served || (got.error().message == "Queue is full" && got.error().retry_after >= seconds{1}),
      "a full queue says when to come back");
}

void History::claim() {
  const ModelIndex model = any_model();
  const auto count = static_cast<std::uint32_t>(1 + draw(3));
  const milliseconds ttl{1'000 + draw(20'000)};
  std::vector<Claimed> got;

  core_->claim(model, count, ttl, now_, got);
  const std::vector<Claimed> expected = naive_.claim(model, count, ttl, now_);

  check(std::ranges::equal(got, expected, [](auto& a, auto& b) { return same(a, b); }),
        "claims come in the order of the naive choice");
  for (const Claimed& claimed : got) {
    check(claimed.lease.token > last_token_, "lease tokens ascend, over crashes and rollbacks too");
    last_token_ = claimed.lease.token;
    leases_.push_back(claimed.lease);
  }
  tally_.claimed += got.size();
}

void History::heartbeat() {
  const Lease lease = any_lease();
  std::optional<double> progress;
  if (one_in(2)) progress = static_cast<double>(draw(101)) / 100;

  const Result<bool> got = core_->heartbeat(lease, progress, now_);
  const std::optional<bool> expected = naive_.heartbeat(lease, progress, now_);

  check(got.has_value() == expected.has_value(), "only a current lease has a heartbeat");
  check(got.value_or(false) == expected.value_or(false), "a heartbeat tells of a cancel");
  tally_.stale += got ? 0 : 1;
}

void History::finish() {
  static constexpr ErrorType kTypes[] = {
      ErrorType::request_invalid,   ErrorType::content_blocked,   ErrorType::inference_failure,
      ErrorType::inference_failure, ErrorType::inference_timeout, ErrorType::internal_server_error};
  const Lease lease = any_lease();
  AttemptReport report;
  const std::uint64_t how = draw(11);
  report.end = how < 3    ? AttemptEnd::succeeded
               : how < 8  ? AttemptEnd::failed
               : how < 9  ? AttemptEnd::canceled
               : how < 10 ? AttemptEnd::released
                          : AttemptEnd::unstarted;
  if (report.end == AttemptEnd::failed) {
    report.error_type = kTypes[draw(std::size(kTypes))];
    report.retryable = !one_in(3);
  }

  const Result<TaskState> got = core_->finish(lease, report, now_, dice_());
  const std::optional<TaskState> expected = naive_.finish(lease, report, now_, core_->changes());

  check(got.has_value() == expected.has_value(), "only the current lease may finish");
  check(!got || *got == *expected, "a finish brings the task where it should");
  check(got || got.error().code == ErrorCode::lease_lost, "a stale lease is told so");
  tally_.stale += got ? 0 : 1;
}

void History::cancel() {
  const TaskId id = any_id();

  const Result<TaskState> got = core_->cancel(id, now_);
  const std::optional<TaskState> expected = naive_.cancel(id, now_);

  check(got.has_value() == expected.has_value(), "a cancel finds live tasks only");
  check(!got || *got == *expected, "a cancel ends what waits and marks what runs");
  check(got || got.error().code == ErrorCode::not_found, "a cancel of nothing is told so");
}

void History::requeue() {
  const auto stored = store_.find(any_id());
  if (stored == store_.end()) return;
  const TaskRow row = stored->second.row;

  const bool got = core_->requeue(row).has_value();
  const bool expected = naive_.requeue(row);

  check(got == expected, "only what ended without success is queued once more");
  if (got) ++tally_.retried;
}

void History::tick() {
  const std::size_t count = one_in(3) ? 1 : 100;

  core_->tick(now_, dice_(), count);
  naive_.tick(now_, count, core_->changes());

  tally_.lost += core_->lost().size();
}

void History::let_time_pass() {
  const microseconds by{one_in(3) ? draw(30'000'000) : draw(2'000'000)};
  now_.steady += by;
  now_.wall += by;
}

void History::jump_wall() { now_.wall += hours{static_cast<int>(draw(97)) - 48}; }

/// Policies change between batches only.
void History::change_policy() {
  end_batch();
  if (one_in(2)) {
    const ModelIndex model = any_model();
    NaiveModel& changed = naive_.models[model];
    changed.paused = !changed.paused;
    core_->set_paused(model, changed.paused);
    return;
  }
  const KeyIndex key = any_key();
  KeyPolicy& changed = naive_.keys[key];
  changed.running_max = static_cast<std::uint32_t>(draw(3));
  changed.weight = static_cast<double>(1 + draw(4)) / 2;
  core_->set_key(key, changed);
}

void History::unserve() {
  const ModelIndex model = any_model();
  if (naive_.models[model].served || one_in(3)) {
    const std::size_t count = 1 + draw(20);
    const std::size_t got = core_->end_unserved(model, count, now_);
    check(got == naive_.end_unserved(model, count, now_), "a model's end is its queued tasks' end");
    return;
  }
  end_batch();
  naive_.models[model].served = true;
  core_->set_model(model, naive_.models[model].policy);
}

void History::set_policies() {
  for (auto& [index, model] : naive_.models) {
    core_->set_model(index, model.policy);
    core_->set_paused(index, model.paused);
    model.served = true;
  }
  for (const auto& [index, policy] : naive_.keys) core_->set_key(index, policy);
}

void History::end_batch() {
  if (one_in(8)) {
    rollback();
  } else {
    commit();
  }
  compare_all();
}

void History::commit() {
  compare_batch();
  check_wake_ups();
  for (const Change& change : core_->changes()) store(change);
  core_->commit();
  naive_.commit();
  for (const auto& [index, model] : naive_.models) {
    was_claimable_[index] = !model.paused && naive_.choice(index) != nullptr;
  }
  ++tally_.commits;
}

void History::rollback() {
  compare_batch();
  core_->rollback();
  naive_.rollback();
  ++tally_.rollbacks;
}

/// The process dies and another one starts from the committed rows, in any order, at another steady
/// time. It may learn its policies only after the rows.
void History::crash() {
  now_.wall += seconds{draw(100)};
  now_.steady = SteadyTime{seconds{draw(5'000)}};
  core_ = std::make_unique<QueueCore>();
  const bool knows_policies = one_in(2);
  if (knows_policies) set_policies();
  NaiveQueue fresh;
  fresh.models = naive_.models;
  fresh.keys = naive_.keys;
  naive_ = fresh;

  std::vector<TaskRow> rows;
  for (const auto& [id, stored] : store_) {
    if (!is_terminal(stored.row.state)) rows.push_back(stored.row);
  }
  if (one_in(2)) std::ranges::shuffle(rows, dice_);
  core_->restore_last_token(last_token_);
  naive_.restore_last_token(last_token_);
  for (const TaskRow& row : rows) {
    core_->restore(row, now_);
    naive_.restore(row, now_);
  }
  if (!knows_policies) set_policies();
  was_claimable_.clear();
  for (bool again = true; again;) {
    core_->resume(now_);
    naive_.resume(now_);
    compare_all();
    again = one_in(4);
    if (again) rollback();
  }
  ++tally_.crashes;
}

/// With time running on and runners that claim, and mostly vanish, every task comes to its end.
void History::live_out() {
  for (auto& [index, model] : naive_.models) {
    if (!model.served) continue;
    commit();
    model.paused = false;
    core_->set_paused(index, false);
  }
  for (std::size_t round = 0; round < kRoundsToTheEnd; ++round) {
    if (core_->queued() + core_->running() == 0) break;
    now_.steady += seconds{61};
    now_.wall += seconds{61};
    tick();
    for (auto& [index, model] : naive_.models) {
      if (!model.served)
        check(core_->end_unserved(index, 100, now_) == naive_.end_unserved(index, 100, now_),
              "unserved tasks end");
    }
    claim();
    claim();
    commit();
    compare_all();
  }
  check(core_->queued() + core_->running() == 0, "every task ends");
  for (const auto& [id, stored] : store_) {
    check(is_terminal(stored.row.state), "every acknowledged task has ended in the store");
    check(!core_->find(id).has_value(), "an ended task leaves the core");
  }
  check(!core_->next_due().has_value(), "an empty core waits for nothing");
}

// ---- promises ----------------------------------------------------------------------------------

void History::compare_all() {
  for (const TaskId& id : known_) compare_task(id);
  for (const auto& [index, model] : naive_.models) {
    const NaiveState& seen = naive_.committed();
    check(core_->queued(index) == NaiveQueue::count(seen, index, TaskState::queued),
          "the model's queued tasks are counted");
    check(core_->running(index) == NaiveQueue::count(seen, index, TaskState::running),
          "the model's running tasks are counted");
    check(core_->oldest_queued(index) == naive_.oldest_queued(index),
          "the oldest queued task is known");
  }
  check(core_->queued() == NaiveQueue::count(naive_.committed(), {}, TaskState::queued) &&
            core_->running() == NaiveQueue::count(naive_.committed(), {}, TaskState::running),
        "all tasks are counted");
  check(core_->next_due() == naive_.next_due(), "the next timer is known");
  compare_batch();
}

/// What is seen of a task is its committed state, whatever the open batch has done to it.
void History::compare_task(const TaskId& id) {
  const std::optional<LiveTask> got = core_->find(id);
  const auto expected = naive_.committed().tasks.find(id);
  const bool is_live = expected != naive_.committed().tasks.end();
  check(got.has_value() == is_live, "committed live tasks are found, and nothing else");
  const auto stored = store_.find(id);
  check(is_live == (stored != store_.end() && !is_terminal(stored->second.row.state)),
        "the core holds exactly the live tasks of the store");
  if (!is_live) return;

  const NaiveTask& task = expected->second;
  check(got->row == task.row, "a task is seen as it was committed");
  check(got->row == stored->second.row, "a task is seen as it was stored");
  if (task.row.state == TaskState::queued) {
    check(got->position == NaiveQueue::position(naive_.committed(), task), "positions are exact");
    const bool is_known = naive_.committed().observed.contains(task.row.model) && !task.waiting &&
                          !naive_.models.at(task.row.model).paused && !naive_.shares_places(task);
    check(
        got->eta.has_value() == is_known,
        "there is an eta once a run was seen, but not in a pause, between two attempts, nor where "
        "other models use the places of its key");
    check(!got->eta || *got->eta >= 0, "no eta is negative");
  } else {
    check(got->progress == task.progress, "progress is the current attempt's");
  }
}

void History::compare_batch() {
  check(std::ranges::equal(core_->changes(), naive_.changes(),
                           [](auto& a, auto& b) { return same(a, b); }),
        "the batch's changes are what should be stored");
  check(std::ranges::equal(core_->lost(), naive_.lost()), "lost leases are told");
}

/// The store takes what was committed, and trusts nobody.
void History::store(const Change& change) {
  const TaskRow& row = change.row;
  const auto [it, is_new] = store_.try_emplace(row.id);
  Stored& stored = it->second;
  check(is_new == (change.kind == Change::Kind::submitted), "each task is submitted once");
  if (!is_new) {
    const TaskState from = stored.row.state;
    const bool is_mark = change.kind == Change::Kind::cancel_marked;
    check(
        is_mark ? from == TaskState::running && row.state == from : is_legal_move(from, row.state),
        "only legal moves are stored");
    check(change.kind == Change::Kind::requeued || stored.row.rank == row.rank,
          "a retry keeps its rank");
  }
  stored.row = row;
  if (change.kind == Change::Kind::ended) {
    stored.wins += row.state == TaskState::succeeded ? 1 : 0;
    tally_.succeeded += row.state == TaskState::succeeded ? 1 : 0;
    tally_.failed += row.state == TaskState::failed ? 1 : 0;
    tally_.canceled += row.state == TaskState::canceled ? 1 : 0;
    check(change.attempt_token != 0 || row.state != TaskState::succeeded,
          "a success has its attempt");
  }
  check(stored.wins <= 1, "one attempt wins");
}

/// A model that had nothing to claim and now has is named, so that no runner sleeps on work.
void History::check_wake_ups() {
  for (const auto& [index, model] : naive_.models) {
    if (model.paused || was_claimable_[index] || naive_.choice(index) == nullptr) continue;
    check(std::ranges::count(core_->claimable(), index) == 1, "runners are woken for new work");
  }
  for (const auto& [line, key] : naive_.giving_way()) {
    check(std::ranges::count(core_->claimable(), line.first) == 1,
          "who has given way is told to come back");
    ++tally_.gave_way;
  }
}

}  // namespace quern::sim
