// What one batch writes, and what follows from it once it is written.

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/log.h"
#include "queue/local/committer.h"
#include "task/task_state.h"

namespace quern {

void Committer::write_names() {
  for (std::size_t i = state_.keys.stored(); i < state_.keys.size(); ++i) {
    const auto key = static_cast<KeyIndex>(i);
    journal_.add(InsertKey{key, state_.keys.name(key)});
  }
  for (std::size_t i = state_.models.stored(); i < state_.models.size(); ++i) {
    const auto model = static_cast<ModelIndex>(i);
    journal_.add(InsertModel{model, state_.models.name(model)});
  }
}

Result<void> Committer::commit_journal() {
  write_names();
  const SteadyTime started = clock_.now().steady;
  Result<void> done = journal_.commit();
  const SteadyTime ended = clock_.now().steady;
  metrics_.commit_seconds.observe(std::chrono::duration<double>(ended - started).count());
  metrics_.cache_bytes.set(static_cast<double>(journal_.cache_bytes()));
  if (done) {
    state_.keys.set_stored(state_.keys.size());
    state_.models.set_stored(state_.models.size());
    if (!state_.write_failure) return done;
    log_info("the store can be written again");
    const std::scoped_lock lock(state_.mutex);
    state_.write_failure.reset();
    return done;
  }
  metrics_.commit_failures.add();
  next_probe_ = ended + kProbeInterval;
  if (!state_.write_failure) log_error("a commit failed", {{"error", done.error().message}});
  const std::scoped_lock lock(state_.mutex);
  state_.write_failure = done.error();
  return done;
}

// ---- before the commit

namespace {

// Only a success has any.
std::string_view outputs_of(const Change& change, const FinishCommand* finish) {
  return change.row.state == TaskState::succeeded ? finish->stored_outputs : std::string_view{};
}

}  // namespace

void Committer::write(Batch& batch) {
  std::size_t next_made = 0;
  running_.write_unsaved(journal_);
  for (const Change& change : state_.core.changes()) write_change(change, batch, next_made);
  QUERN_ASSERT(next_made == batch.made.size());
  for (const auto& [model, paused] : batch.pauses) journal_.add(SetPaused{model, paused});
  if (batch.lease_tokens != 0) journal_.add(ReserveLeaseTokens{batch.lease_tokens});
  for (const ExpiredTask& task : batch.expired) journal_.add(RemoveEnded{task.id});
  if (batch.drop_records) {
    const WallTime made_before = retention_.made_before(batch.now, kIdempotencyTtl);
    // More than come in the same time, which no steady load outruns.
    journal_.add(RemoveIdempotency{
        made_before, std::min(kExpireMax + 2 * std::exchange(records_made_, 0), kForgetMax)});
  }
}

void Committer::write_change(const Change& change, Batch& batch, std::size_t& next_made) {
  const auto found = batch.finishes.find(change.attempt_token);
  FinishCommand* const finish = found == batch.finishes.end() ? nullptr : found->second;
  switch (change.kind) {
    case Change::Kind::submitted:
      QUERN_ASSERT(next_made < batch.made.size());
      return write_submit(change.row, *batch.made[next_made++], batch);
    case Change::Kind::started:
      return journal_.add(UpdateTask{change.row, batch.now.wall});
    case Change::Kind::attempt_ended:
      journal_.add(InsertAttempt{attempt_of(change, finish, batch)});
      return journal_.add(UpdateTask{change.row, std::nullopt});
    case Change::Kind::cancel_marked:
      // One that is not known to run began in this batch.
      return journal_.add(
          UpdateTask{change.row, running_.started(change.row.id).value_or(batch.now.wall)});
    case Change::Kind::ended:
      return write_end(change, finish, batch);
    case Change::Kind::requeued:
      return journal_.add(ReviveTask{change.row});
  }
}

void Committer::write_submit(const TaskRow& row, const SubmitCommand& command, Batch& batch) {
  QUERN_ASSERT(row.id == command.answer->id);
  journal_.add(InsertTask{row, command.submission.input});
  if (!command.submission.idempotency) return;
  const IdempotencyKey& idempotency = *command.submission.idempotency;
  const IdempotencyRecord record{row.id, idempotency.fingerprint, batch.now.wall};
  journal_.add(InsertIdempotency{row.key, idempotency.name, record});
  ++records_made_;
}

void Committer::write_end(const Change& change, FinishCommand* finish, Batch& batch) {
  std::optional<AttemptRecord> last;
  if (!change.attempt_result.empty()) last = attempt_of(change, finish, batch);
  const StoredResult& result =
      batch.ended.emplace_back(change.row, result_of(change, finish, batch)).second;
  journal_.add(EndTask{.row = change.row,
                       .run_time = result.run_time,
                       .error = result.error,
                       .metadata_json = result.metadata_json,
                       .outputs = outputs_of(change, finish),
                       .last = last});
}

AttemptRecord Committer::attempt_of(const Change& change, const FinishCommand* finish,
                                    const Batch& batch) const {
  AttemptRecord attempt;
  attempt.sequence = change.row.id.sequence();
  attempt.token = change.attempt_token;
  attempt.retried = change.row.state == TaskState::queued;
  attempt.retry_at = change.row.not_before;
  // A released attempt was given back, so the row no longer counts it; unless it was the last one.
  const bool is_given_back = attempt.retried && change.attempt_result == "released";
  attempt.number = change.row.attempts_started + (is_given_back ? 1U : 0U);
  attempt.started = running_.started(change.row.id).value_or(batch.now.wall);
  attempt.ended = batch.now.wall;
  attempt.result = change.attempt_result;
  if (finish != nullptr) {
    attempt.reason =
        finish->outcome.reason.empty() ? finish->outcome.error : finish->outcome.reason;
  }
  return attempt;
}

StoredResult Committer::result_of(const Change& change, FinishCommand* finish, const Batch& batch) {
  StoredResult result;
  if (finish != nullptr) {
    result.run_time = finish->outcome.run_time;
  } else if (const std::optional<WallTime> started = running_.started(change.row.id)) {
    result.run_time = std::max(batch.now.wall - *started, std::chrono::microseconds{0});
  }
  if (change.row.state == TaskState::succeeded) {
    QUERN_ASSERT(finish != nullptr);
    result.outputs = std::move(finish->outcome.outputs);
    result.metadata_json = std::move(finish->outcome.metadata_json);
  } else if (!change.error.empty()) {
    result.error = change.error;
  } else if (finish != nullptr && !finish->outcome.error.empty()) {
    result.error = finish->outcome.error;
  } else {
    result.error = default_error_text(change.row.error_type);
  }
  return result;
}

namespace {
constexpr std::chrono::hours kJumpMin{1};  // of the wall clock, that is worth a line in the log
}  // namespace

void Committer::find_expired(Batch& batch) {
  if (!retention_.is_due(batch.now)) return;
  const WallTime ended_before = retention_.ended_before(batch.now);
  Result<ExpiredTasks> expired = journal_.expired(ended_before, kExpireMax);
  const bool is_full = expired && expired->is_full(kExpireMax);
  if (expired) batch.expired = std::move(expired->tasks);
  const Result<std::optional<WallTime>> oldest = journal_.oldest_idempotency();
  batch.drop_records =
      oldest && *oldest && **oldest < retention_.made_before(batch.now, kIdempotencyTtl);
  const bool has_more = batch.drop_records || is_full || journal_.is_forgetting_idempotency();
  const Result<std::optional<WallTime>> oldest_ended = journal_.oldest_ended();
  // A failed read is tried again after a while, like a look that found nothing.
  retention_.plan(batch.now, has_more, oldest_ended.value_or(std::nullopt));
  std::optional<Error> error;
  if (!expired) error = expired.error();
  if (!oldest) error = oldest.error();
  if (!oldest_ended) error = oldest_ended.error();
  tell_of_look(error);
  tell_of_jump(batch.now);
}

void Committer::tell_of_jump(Now now) {
  const auto ahead = std::chrono::duration_cast<std::chrono::hours>(retention_.ahead(now));
  if (std::exchange(is_clock_ahead_, ahead >= kJumpMin) == (ahead >= kJumpMin)) return;
  if (is_clock_ahead_) {
    log_warn(
        "the wall clock jumped ahead: ended tasks are kept longer, until it has been so for a day; "
        "if it is right, a restart forgets them in time",
        {{"hours", std::to_string(ahead.count())}});
  } else {
    log_info("tasks are forgotten by the wall clock again");
  }
}

void Committer::tell_of_look(const std::optional<Error>& error) {
  if (std::exchange(is_look_failing_, error.has_value()) == error.has_value()) return;
  if (error) {
    log_error("what is past its retention cannot be looked for", {{"error", error->message}});
  } else {
    log_info("what is past its retention is found again");
  }
}

// ---- after the commit

namespace {

// The task has come into the queue or left it; one that ends after an attempt left it long ago.
bool moves_positions(const Change& change) {
  if (change.kind == Change::Kind::cancel_marked) return false;
  return change.kind != Change::Kind::ended || change.attempt_result.empty();
}

}  // namespace

void Committer::note_changes(Batch& batch) {
  const QueueCore& core = state_.core;
  batch.claimable.assign(core.claimable().begin(), core.claimable().end());
  batch.lost.assign(core.lost().begin(), core.lost().end());
  if (is_worth_writing(batch)) {
    running_.mark_saved();
    logs_due_.reset();
  }
  for (const Change& change : core.changes()) {
    const TaskRow& row = change.row;
    if (!change.attempt_result.empty()) metrics_.count_attempt(change.attempt_result);
    if (change.kind == Change::Kind::started) {
      running_.start(row.id, row.attempts_started, batch.now.wall);
    } else if (change.kind == Change::Kind::cancel_marked) {
      batch.canceled.push_back({row.id, row.lease_token});
    } else if (!change.attempt_result.empty()) {
      running_.end(row.id);
    } else if (change.kind == Change::Kind::ended) {
      bodies_.take(row.id);
    }
  }
}

// With the lock of what is published next: whoever begins to watch looks behind that lock, before or
// after.
void Committer::note_watched(Batch& batch) {
  if (watches_.is_empty()) return;
  for (const Change& change : state_.core.changes()) {
    const QueuePlace place = QueuePlace::of(change.row);
    const bool queued = change.row.state == TaskState::queued;
    batch.changed.emplace_back(change.row.id, queued ? std::optional(place) : std::nullopt);
    if (moves_positions(change)) watches_.positions_changed(place);
  }
}

void Committer::note_expired(const Batch& batch) {
  for (const ExpiredTask& task : batch.expired) results_.erase(task.id);
  metrics_.expired.add(batch.expired.size());
}

}  // namespace quern
