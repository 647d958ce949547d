#include "queue/local/committer.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/assert.h"
#include "base/log.h"
#include "queue/local/task_views.h"

namespace quern {
namespace {

/// Commands applied before the lock is let go, so that a poll never waits long.
constexpr std::size_t kCommandsPerLock = 32;
constexpr std::size_t kTicksMax = 256;
constexpr std::size_t kEndUnservedMax = 500;

std::string replay_name(const IdempotencyKey& key) {
  std::string name;
  name.reserve(key.key.size() + 1 + key.name.size());
  return name.append(key.key).append(1, '\0').append(key.name);
}

std::size_t bytes_of(const Command& command) {
  if (const auto* submit = std::get_if<SubmitCommand>(&command)) {
    return submit->submission.input.size();
  }
  if (const auto* finish = std::get_if<FinishCommand>(&command)) {
    return finish->stored_outputs.size() + finish->outcome.metadata_json.size() +
           finish->outcome.error.size();
  }
  std::size_t bytes = 0;
  if (const auto* heartbeat = std::get_if<HeartbeatCommand>(&command)) {
    for (const LogEntry& line : heartbeat->beat.logs) bytes += line.message.size();
  }
  return bytes;
}

/// How many of the commands, from the first on, share the next transaction.
std::size_t batch_size(std::span<const Command> commands) {
  std::size_t count = 0;
  std::size_t bytes = 0;
  while (count < commands.size() && count < kBatchCommandsMax && bytes < kBatchBytesMax &&
         !is_alone(commands[count])) {
    bytes += bytes_of(commands[count++]);
  }
  return count;
}

}  // namespace

Committer::Committer(const Parts& parts, const Options& options)
    : state_(parts.state),
      journal_(parts.journal),
      clock_(parts.clock),
      random_(parts.random),
      results_(parts.results),
      running_(parts.running),
      watches_(parts.watches),
      metrics_(parts.metrics),
      options_(options),
      bodies_(options.body_cache_bytes),
      retention_(options.retention) {}

void Committer::run(std::span<Command> commands) {
  std::vector<Command> own;
  own.swap(own_);
  rest_ = commands;
  taken_before_ = std::exchange(taken_, clock_.now().steady);
  bool has_batch = !own.empty();
  if (has_batch) run_batch(own);
  while (!commands.empty()) {
    const bool alone = is_alone(commands.front());
    const std::size_t count = alone ? 1 : batch_size(commands);
    rest_ = commands.subspan(count);
    alone ? run_alone(commands.front()) : run_batch(commands.first(count));
    has_batch = has_batch || !alone;
    commands = rest_;
  }
  // What is due comes with a batch, and there may be commands that run alone for as long as anyone
  // sends them.
  if (!has_batch) run_batch({});
  if (!watches_.is_empty()) watches_.flush(clock_.now().steady);
}

std::optional<SteadyTime> Committer::next_due() const {
  std::optional<SteadyTime> due;
  const auto at = [&](std::optional<SteadyTime> time) {
    if (time) due = std::min(due.value_or(*time), *time);
  };
  at(watches_.next_due());
  if (state_.write_failure) {
    if (state_.write_failure->code != ErrorCode::data_loss) at(next_probe_);
    return due;
  }
  if (!configured_) return due;
  if (!own_.empty() || !unserved_.empty() || !resumed_) at(SteadyTime{});
  if (const auto timer = state_.core.next_due())
    at(std::max(*timer, timers_from_.value_or(*timer)));
  at(retention_.due());
  at(logs_due_);
  return due;
}

void Committer::close() {
  if (state_.write_failure || !running_.has_unsaved()) return;
  running_.write_unsaved(journal_);
  if (commit_journal()) running_.mark_saved();
}

// ---- one batch

std::optional<Error> Committer::blocked() const {
  if (state_.write_failure && state_.write_failure->code == ErrorCode::data_loss) {
    return state_.write_failure;
  }
  if (!configured_) {
    return Error{ErrorCode::unavailable, "the queue does not know its models yet",
                 std::chrono::seconds{1}};
  }
  return std::nullopt;
}

void Committer::run_batch(std::span<Command> commands) {
  if (const std::optional<Error> error = blocked()) {
    for (Command& command : commands) {
      if (auto* heartbeat = std::get_if<HeartbeatCommand>(&command)) {
        heartbeat->answer = std::unexpected(*error);
      }
    }
    return refuse(commands, *error);
  }
  if (state_.write_failure) {
    probe();
    // With nothing asked for, a store that takes no writes is only looked at.
    if (commands.empty() && state_.write_failure) return;
  }

  Batch batch{.now = clock_.now()};
  look_up_replays(commands, batch);
  apply(commands, batch);
  note_beats(commands, batch);
  find_expired(batch);
  if (is_worth_writing(batch)) {
    if (!commands.empty()) metrics_.batch_commands.observe(static_cast<double>(commands.size()));
    write(batch);
    if (const Result<void> done = commit_journal(); !done) {
      roll_back(commands);
      // Progress and lines need no disk: they are seen already.
      for (const TaskId& id : batch.progressed) watches_.progress_changed(id);
      return refuse(commands, done.error());
    }
  }
  publish(batch);
  // A stop means nothing to a dispatcher that does not have the attempt yet.
  if (!batch.canceled.empty()) answer_claims(commands);
  // Observers first: who has an answer may rely on their having been told.
  DelayedWakes wakes;
  tell(batch);
  answer(commands, wakes);
}

/// Who brings an end lives, though nobody can take it in yet: until it comes again its lease is kept.
void Committer::roll_back(std::span<const Command> commands) {
  const Now now = clock_.now();
  const std::scoped_lock lock(state_.mutex);
  state_.core.rollback();
  for (const Command& command : commands) {
    if (const auto* finish = std::get_if<FinishCommand>(&command)) {
      static_cast<void>(state_.core.heartbeat(finish->lease, std::nullopt, now));
    }
  }
}

void Committer::look_up_replays(std::span<Command> commands, Batch& batch) {
  for (const Command& command : commands) {
    if (const auto* submit = std::get_if<SubmitCommand>(&command)) {
      if (submit->submission.idempotency) look_up_replay(*submit->submission.idempotency, batch);
    } else if (const auto* replay = std::get_if<ReplayCommand>(&command)) {
      look_up_replay(replay->key, batch);
    }
  }
}

void Committer::look_up_replay(const IdempotencyKey& key, Batch& batch) {
  const std::optional<KeyIndex> index = state_.keys.find(key.key);
  if (!index) return;
  Result<std::optional<IdempotencyRecord>> found = journal_.find_idempotency(*index, key.name);
  if (!found) {
    batch.replays.insert_or_assign(replay_name(key), fail(std::move(found)));
  } else if (*found && (*found)->created > retention_.made_before(batch.now, kIdempotencyTtl)) {
    const IdempotencyRecord& record = **found;
    batch.replays.try_emplace(replay_name(key),
                              Replay{record.fingerprint, Submitted{record.id, 0, true}, false});
  }
}

void Committer::apply(std::span<Command> commands, Batch& batch) {
  while (!commands.empty()) {
    const std::size_t count = std::min(commands.size(), kCommandsPerLock);
    const std::scoped_lock lock(state_.mutex);
    for (Command& command : commands.first(count)) {
      std::visit([&](auto& one) { apply_one(one, batch); }, command);
    }
    commands = commands.subspan(count);
  }
  const std::scoped_lock lock(state_.mutex);
  apply_due(batch);
}

void Committer::apply_due(Batch& batch) {
  if (!resumed_) {
    state_.core.resume(batch.now);
    batch.resumes = true;
    return;
  }
  const std::optional<SteadyTime> due = state_.core.next_due();
  // A lease whose heartbeat or end has come in time is not over because a sync before it took long. What
  // has come since run() began is not here yet, so whatever came due since then is left to the next run.
  const Now now{batch.now.wall, std::min(batch.now.steady, taken_)};
  const bool holders_wait = std::ranges::any_of(rest_, [](const Command& one) {
    return std::holds_alternative<HeartbeatCommand>(one) ||
           std::holds_alternative<FinishCommand>(one);
  });
  if (!due || *due > now.steady) {
    on_time();
  } else if (!holders_wait && !leaves_timers(*due)) {
    state_.core.tick(now, random_.next_u64(), kTicksMax);
  }
  for (const ModelIndex model : unserved_) {
    if (state_.core.end_unserved(model, kEndUnservedMax, batch.now) == 0) {
      batch.emptied.push_back(model);
    }
  }
}

// A few times in a row at most: where every look is late, time goes on all the same.
bool Committer::leaves_timers(SteadyTime due) {
  if (timers_from_ && taken_ < *timers_from_) return true;
  const SteadyTime awaited = std::max({due, taken_before_, timers_from_.value_or(due)});
  const bool stood_still = awaited + kStandstillMin < taken_;
  if (!stood_still || standstills_ == kStandstillsMax) {
    on_time();
    return false;
  }
  ++standstills_;
  timers_from_ = taken_ + kStandstillGrace;
  return true;
}

void Committer::on_time() {
  timers_from_.reset();
  standstills_ = 0;
}

// ---- applying the commands, under the lock

Result<std::optional<Submitted>> Committer::replay_of(const IdempotencyKey& key,
                                                      const Batch& batch) const {
  const auto found = batch.replays.find(replay_name(key));
  if (found == batch.replays.end()) return std::nullopt;
  if (!found->second) return std::unexpected(found->second.error());
  const Replay& replay = *found->second;
  if (replay.fingerprint != key.fingerprint) {
    return fail(ErrorCode::conflict, "the idempotency key was used with a different request");
  }
  Submitted submitted = replay.submitted;
  submitted.replayed = true;
  if (!replay.is_new) {
    const std::optional<LiveTask> live = state_.core.find(submitted.id);
    submitted.position = live ? live->position : 0;
  }
  return submitted;
}

void Committer::apply_one(SubmitCommand& command, Batch& batch) {
  const Submission& submission = command.submission;
  const std::optional<ModelIndex> model = state_.models.find(submission.model);
  if (!model || !state_.model_flags[static_cast<std::size_t>(*model)].served) {
    command.answer = fail(ErrorCode::invalid_argument, "no such model: " + submission.model);
    return;
  }
  if (submission.idempotency) {
    Result<std::optional<Submitted>> replay = replay_of(*submission.idempotency, batch);
    if (!replay) {
      command.answer = fail(std::move(replay));
      return;
    }
    if (*replay) {
      command.answer = **replay;
      return;
    }
  }
  const NewTask task{.id = ids_->next(batch.now.wall),
                     .key = intern_key(submission.key),
                     .model = *model,
                     .priority = submission.priority,
                     .no_retry = submission.no_retry,
                     .start_timeout = submission.start_timeout,
                     .model_queued_max = submission.model_queued_max};
  Result<std::uint64_t> position = state_.core.submit(task, batch.now);
  if (!position) {
    command.answer = fail(std::move(position));
    return;
  }
  const Submitted submitted{task.id, *position, false};
  command.answer = submitted;
  batch.made.push_back(&command);
  if (submission.idempotency) {
    batch.replays.insert_or_assign(replay_name(*submission.idempotency),
                                   Replay{submission.idempotency->fingerprint, submitted, true});
  }
}

void Committer::apply_one(ReplayCommand& command, Batch& batch) {
  command.answer = replay_of(command.key, batch);
}

void Committer::apply_one(ClaimCommand& command, Batch& batch) {
  const std::optional<ModelIndex> model = state_.models.find(command.request.model);
  if (!model) return;
  state_.core.claim(*model, command.request.count_max, command.request.lease_ttl, batch.now,
                    command.claimed);
  for (const Claimed& claimed : command.claimed) {
    if (claimed.lease.token > std::max(reserved_tokens_, batch.lease_tokens)) {
      constexpr std::uint64_t kReserve = 1'000'000;
      batch.lease_tokens = claimed.lease.token + kReserve;
    }
  }
}

void Committer::apply_one(HeartbeatCommand& command, Batch& batch) {
  Result<bool> canceled = state_.core.heartbeat(command.lease, command.beat.progress, batch.now);
  if (canceled) {
    command.answer = BeatAnswer{*canceled};
  } else {
    command.answer = fail(std::move(canceled));
  }
}

void Committer::apply_one(FinishCommand& command, Batch& batch) {
  const AttemptReport report{command.outcome.end, command.outcome.error_type,
                             command.outcome.retryable};
  command.answer = state_.core.finish(command.lease, report, batch.now, random_.next_u64());
  if (command.answer) batch.finishes.emplace(command.lease.token, &command);
}

void Committer::apply_one(CancelCommand& command, Batch& batch) {
  const std::optional<LiveTask> live = state_.core.find(command.ref.id);
  if (!live) return;
  if (!state_.is_visible(live->row, command.ref)) {
    command.answer = fail(ErrorCode::not_found, "no such task");
    return;
  }
  // Live as committed, but it may have ended in this very batch.
  const Result<TaskState> state = state_.core.cancel(command.ref.id, batch.now);
  command.answer = state ? CancelAnswer::requested : CancelAnswer::already_completed;
}

void Committer::apply_one(PauseCommand& command, Batch& batch) {
  const std::optional<ModelIndex> model = state_.models.find(command.model);
  if (!model || !state_.model_flags[static_cast<std::size_t>(*model)].served) {
    command.answer = fail(ErrorCode::not_found, "no such model: " + command.model);
    return;
  }
  command.answer = true;
  batch.pauses.emplace_back(*model, command.paused);
}

void Committer::note_beats(std::span<Command> commands, Batch& batch) {
  for (Command& command : commands) {
    auto* heartbeat = std::get_if<HeartbeatCommand>(&command);
    if (heartbeat == nullptr || !heartbeat->answer) continue;
    const TaskId& id = heartbeat->lease.task;
    const bool has_logs = !heartbeat->beat.logs.empty();
    const bool has_progress = heartbeat->beat.progress.has_value();
    if (has_logs) append_logs(id, std::move(heartbeat->beat));
    // Once the lines are there: who begins to watch looks at them under a lock, before or after.
    if ((has_logs || has_progress) && !watches_.is_empty()) {
      batch.progressed.push_back(id);
    }
  }
}

void Committer::append_logs(const TaskId& id, Beat beat) {
  running_.append(id, std::move(beat), [&] { return journal_.logs(id); });
  if (!logs_due_ && running_.has_unsaved()) logs_due_ = clock_.now().steady + kLogFlushInterval;
}

// ---- publishing and answering

bool Committer::is_worth_writing(const Batch& batch) const {
  return !state_.core.changes().empty() || !batch.pauses.empty() || !batch.expired.empty() ||
         batch.drop_records || (logs_due_ && *logs_due_ <= batch.now.steady);
}

void Committer::publish(Batch& batch) {
  for (const SubmitCommand* command : batch.made) {
    bodies_.put(command->answer->id, command->submission.input);
  }
  note_changes(batch);
  note_expired(batch);
  if (batch.resumes) resumed_ = true;
  std::erase_if(unserved_, [&](ModelIndex model) {
    return std::ranges::find(batch.emptied, model) != batch.emptied.end();
  });
  if (batch.lease_tokens != 0) reserved_tokens_ = batch.lease_tokens;
  metrics_.submitted.add(batch.made.size());
  for (auto& [row, result] : batch.ended) {
    metrics_.count_ended(row.state);
    results_.put(view_of(row, std::move(result), state_));
  }
  const std::scoped_lock lock(state_.mutex);
  note_watched(batch);
  state_.core.commit();
  publish_pauses(batch);
}

// A claim of the same transaction may have been made before or after the pause: both are true to it.
void Committer::publish_pauses(Batch& batch) {
  for (const auto& [model, paused] : batch.pauses) {
    state_.model_flags[static_cast<std::size_t>(model)].paused = paused;
    state_.core.set_paused(model, paused);
    if (!paused) batch.claimable.push_back(model);
  }
}

void Committer::answer_claims(std::span<Command> commands) {
  for (Command& command : commands) {
    if (auto* claim = std::get_if<ClaimCommand>(&command)) answer_one(*claim);
  }
}

void Committer::answer(std::span<Command> commands, DelayedWakes& wakes) {
  for (Command& command : commands) {
    // These may read from the tables.
    const bool may_block = std::holds_alternative<ClaimCommand>(command) ||
                           std::holds_alternative<CancelCommand>(command);
    if (may_block) wakes.release();
    std::visit([&](auto& one) { answer_one(one); }, command);
  }
}

void Committer::answer_one(SubmitCommand& command) { command.reply(std::move(command.answer)); }
void Committer::answer_one(ReplayCommand& command) { command.reply(std::move(command.answer)); }
void Committer::answer_one(HeartbeatCommand& command) { command.reply(std::move(command.answer)); }
void Committer::answer_one(PauseCommand& command) { command.reply(std::move(command.answer)); }
void Committer::answer_one(FinishCommand& command) { command.reply(std::move(command.answer)); }
void Committer::answer_one(AfterCommand& command) { command.then(); }

void Committer::answer_one(CancelCommand& command) {
  if (!command.answer) command.answer = cancel_ended(command.ref);
  command.reply(*std::move(command.answer));
}

void Committer::answer_one(ClaimCommand& command) {
  if (!command.reply) return;  // answered already
  std::vector<Result<std::string>> inputs = take_inputs(command.claimed);
  renew_leases(command.claimed, inputs);
  std::vector<Claim> claims;
  claims.reserve(command.claimed.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Claimed& claimed = command.claimed[i];
    if (inputs[i]) {
      claims.push_back(make_claim(claimed, command.request.model, *std::move(inputs[i])));
    } else {
      fail_unreadable(claimed, inputs[i].error());
    }
  }
  const bool is_short = claims.size() < command.claimed.size();
  auto reply = std::exchange(command.reply, nullptr);
  // None would say that no others wait. And whoever claims is to wait a little: where no input can be
  // read, the disk may be in trouble, and each claim spends attempts.
  if (is_short && claims.empty()) {
    return reply(fail(ErrorCode::unavailable, "the input of no task can be read"));
  }
  reply(std::move(claims));
  // Fewer than were asked for would say so as well.
  if (!is_short) return;
  const std::optional<ModelIndex> model = state_.models.find(command.request.model);
  tell_claimable({&*model, 1});
}

/// In the order of the claims; what is not in memory is read in one go.
std::vector<Result<std::string>> Committer::take_inputs(std::span<const Claimed> claimed) {
  std::vector<Result<std::string>> inputs(claimed.size());
  std::vector<TaskId> missed;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < claimed.size(); ++i) {
    const TaskId& id = claimed[i].lease.task;
    if (std::optional<std::string> body = bodies_.take(id)) {
      inputs[i] = *std::move(body);
    } else {
      missed.push_back(id);
      places.push_back(i);
    }
  }
  if (missed.empty()) return inputs;
  std::vector<Result<std::string>> read = journal_.inputs(missed);
  for (std::size_t i = 0; i < read.size(); ++i) inputs[places[i]] = std::move(read[i]);
  return inputs;
}

/// Nobody could keep them alive while they were being stored, however long that took.
void Committer::renew_leases(std::span<const Claimed> claimed,
                             std::span<const Result<std::string>> inputs) {
  const Now now = clock_.now();
  const std::scoped_lock lock(state_.mutex);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i]) continue;
    // Refused where a lease of no length was over within its own transaction.
    static_cast<void>(state_.core.heartbeat(claimed[i].lease, std::nullopt, now));
  }
}

Claim Committer::make_claim(const Claimed& claimed, std::string model, std::string input) {
  return {.lease = claimed.lease,
          .key = state_.keys.name(claimed.key),
          .model = std::move(model),
          .attempt = claimed.attempt,
          .submitted = claimed.submitted,
          .input = std::move(input),
          .key_is_limited = claimed.key_is_limited};
}

/// The attempt has begun, so it ends like any other that fails; the next one may be able to read.
void Committer::fail_unreadable(const Claimed& claimed, const Error& error) {
  log_error("the input of a task cannot be read",
            {{"task", claimed.lease.task.to_string()}, {"error", error.message}});
  Outcome outcome;
  outcome.end = AttemptEnd::failed;
  outcome.error_type = ErrorType::internal_server_error;
  outcome.retryable = true;
  outcome.reason = "its input could not be read";
  own_.emplace_back(FinishCommand{claimed.lease, std::move(outcome), {}, [](Result<TaskState>) {}});
}

void Committer::refuse(std::span<Command> commands, const Error& error) {
  for (Command& command : commands) {
    if (auto* submit = std::get_if<SubmitCommand>(&command)) {
      submit->reply(std::unexpected(error));
    } else if (auto* replay = std::get_if<ReplayCommand>(&command)) {
      replay->reply(std::unexpected(error));
    } else if (auto* claim = std::get_if<ClaimCommand>(&command)) {
      claim->reply(std::unexpected(error));
    } else if (auto* finish = std::get_if<FinishCommand>(&command)) {
      finish->reply(std::unexpected(error));
    } else if (auto* cancel = std::get_if<CancelCommand>(&command)) {
      cancel->reply(std::unexpected(error));
    } else if (auto* pause = std::get_if<PauseCommand>(&command)) {
      pause->reply(std::unexpected(error));
    } else if (auto* heartbeat = std::get_if<HeartbeatCommand>(&command)) {
      // A heartbeat needs no disk: it goes by the committed state and no rollback undoes it.
      answer_one(*heartbeat);
    } else if (auto* after = std::get_if<AfterCommand>(&command)) {
      after->then();
    }
  }
}

void Committer::tell(const Batch& batch) {
  if (QueueObserver* const observer = observer_.load()) {
    for (const Lease& lease : batch.lost) observer->on_stop(lease, false);
    for (const Lease& lease : batch.canceled) observer->on_stop(lease, true);
    for (const ExpiredTask& task : batch.expired) {
      if (!task.outputs.empty()) observer->on_expired(task.outputs);
    }
  }
  tell_claimable(batch.claimable);
  for (const TaskId& id : batch.progressed) watches_.progress_changed(id);
  for (const auto& [id, place] : batch.changed) watches_.state_changed(id, place);
}

void Committer::tell_claimable(std::span<const ModelIndex> models) {
  QueueObserver* const observer = observer_.load();
  if (observer == nullptr) return;
  for (const ModelIndex model : models) {
    const auto index = static_cast<std::size_t>(model);
    if (state_.model_flags[index].served) observer->on_claimable(state_.models.name(model));
  }
}

}  // namespace quern
