// Recovery, and the commands that have a transaction of their own.

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "queue/local/committer.h"

namespace quern {
namespace {

constexpr std::chrono::seconds kProgressInterval{1};
constexpr std::size_t kRowsPerLook = 1'000;  // between two looks at the clock

std::unexpected<Error> no_such_task() { return fail(ErrorCode::not_found, "no such task"); }

/// Says about every second how far a recovery has come, and at its end how long it took.
class RecoveryProgress {
 public:
  explicit RecoveryProgress(Clock& clock)
      : clock_(clock), begun_(clock.now().steady), told_(begun_) {}

  void add_row() {
    if (++rows_ % kRowsPerLook != 0) return;
    const SteadyTime now = clock_.now().steady;
    if (now - told_ < kProgressInterval) return;
    told_ = now;
    log_info("recovering tasks", {{"tasks", std::to_string(rows_)}});
  }
  void end() const {
    if (rows_ == 0) return;
    const std::chrono::duration<double> took = clock_.now().steady - begun_;
    log_info("recovered tasks",
             {{"tasks", std::to_string(rows_)}, {"seconds", fmt::format("{:.3f}", took.count())}});
  }

 private:
  Clock& clock_;
  SteadyTime begun_;
  SteadyTime told_;
  std::size_t rows_ = 0;
};

}  // namespace

// ---- recovery

Result<void> Committer::recover() {
  const Now now = clock_.now();
  Result<std::vector<std::string>> keys = journal_.key_names();
  if (!keys) return fail(std::move(keys));
  Result<std::vector<StoredModel>> models = journal_.model_names();
  if (!models) return fail(std::move(models));
  const Result<std::int64_t> last_sequence = journal_.last_sequence();
  if (!last_sequence) return std::unexpected(last_sequence.error());
  const Result<std::uint64_t> tokens = journal_.reserved_lease_tokens();
  if (!tokens) return std::unexpected(tokens.error());

  const std::scoped_lock lock(state_.mutex);
  state_.keys = NameTable<KeyIndex>(*std::move(keys));
  for (StoredModel& model : *models) {
    const ModelIndex index = intern_model(model.name);
    state_.model_flags[static_cast<std::size_t>(index)].paused = model.paused;
    if (model.paused) state_.core.set_paused(index, true);
  }
  state_.models.set_stored(state_.models.size());
  ids_.emplace(random_, *last_sequence);
  reserved_tokens_ = *tokens;
  state_.core.restore_last_token(*tokens);
  retention_.start(now);

  RecoveryProgress progress(clock_);
  Result<void> done =
      journal_.for_each_live([&](const TaskRow& row, std::optional<WallTime> started) {
        name_all_of(row);
        state_.core.restore(row, now);
        if (row.state == TaskState::running) {
          running_.start(row.id, row.attempts_started, started.value_or(row.submitted));
        }
        progress.add_row();
      });
  if (!done) return done;
  progress.end();
  journal_.end_recovery();
  return {};
}

/// A store whose last names were lost has rows under numbers that are not to be given to others.
void Committer::name_all_of(const TaskRow& row) {
  while (state_.keys.size() <= static_cast<std::size_t>(row.key)) {
    intern_key(missing_name(state_.keys.size()));
  }
  while (state_.models.size() <= static_cast<std::size_t>(row.model)) {
    intern_model(missing_name(state_.models.size()));
  }
}

// ---- commands of their own

void Committer::run_alone(Command& command) {
  std::visit([&](auto& one) { run_one(one); }, command);
}

void Committer::run_one(RetryCommand& command) { command.reply(retry(command.ref)); }
void Committer::run_one(PurgeCommand& command) { command.reply(purge(command.ref)); }
void Committer::run_one(ConfigureCommand& command) {
  configure(command.policy);
  command.reply(true);
}

Result<EndedTask> Committer::find_ended(const TaskRef& ref) {
  Result<std::optional<EndedTask>> ended = journal_.find_ended(ref.id);
  if (!ended) return fail(std::move(ended));
  if (!*ended || !state_.is_visible((*ended)->row, ref)) return no_such_task();
  return **std::move(ended);
}

Result<CancelAnswer> Committer::cancel_ended(const TaskRef& ref) {
  const Result<std::optional<TaskRow>> row = journal_.find_ended_row(ref.id);
  if (!row) return std::unexpected(row.error());
  if (!*row || !state_.is_visible(**row, ref)) return no_such_task();
  return CancelAnswer::already_completed;
}

Result<TaskState> Committer::retry(const TaskRef& ref) {
  if (const std::optional<Error> error = blocked()) return std::unexpected(*error);
  if (const std::optional<LiveTask> live = state_.core.find(ref.id)) {
    if (!state_.is_visible(live->row, ref)) return no_such_task();
    return fail(ErrorCode::conflict, "the task has not ended yet");
  }
  Result<EndedTask> ended = find_ended(ref);
  if (!ended) return fail(std::move(ended));
  if (ended->row.state == TaskState::succeeded) {
    return fail(ErrorCode::conflict,
                "the task succeeded; only a failed or canceled one is retried");
  }
  if (!state_.is_served(ended->row.model)) {
    return fail(ErrorCode::conflict, "the task's model is no longer served");
  }

  Batch batch{.now = clock_.now()};
  {
    const std::scoped_lock lock(state_.mutex);
    Result<void> requeued = state_.core.requeue(ended->row);
    if (!requeued) {
      state_.core.rollback();
      return fail(std::move(requeued));
    }
  }
  write(batch);
  if (Result<void> done = commit_journal(); !done) {
    const std::scoped_lock lock(state_.mutex);
    state_.core.rollback();
    return fail(std::move(done));
  }
  publish(batch);
  results_.erase(ref.id);
  tell(batch);
  return TaskState::queued;
}

Result<bool> Committer::purge(const TaskRef& ref) {
  if (const std::optional<Error> error = blocked()) return std::unexpected(*error);
  if (const std::optional<LiveTask> live = state_.core.find(ref.id)) {
    if (!state_.is_visible(live->row, ref)) return no_such_task();
    return fail(ErrorCode::conflict, "the task has not ended yet");
  }
  Result<EndedTask> ended = find_ended(ref);
  if (!ended) return fail(std::move(ended));
  journal_.add(RemoveEnded{ref.id});
  if (Result<void> done = commit_journal(); !done) return fail(std::move(done));
  results_.erase(ref.id);
  QueueObserver* const observer = observer_.load();
  if (observer != nullptr && !ended->result.outputs.empty()) {
    observer->on_expired(ended->result.outputs);
  }
  return true;
}

// ---- policies

ModelIndex Committer::intern_model(const std::string& name) {
  if (const std::optional<ModelIndex> known = state_.models.find(name)) return *known;
  state_.model_flags.emplace_back();
  return state_.models.add(name);
}

KeyIndex Committer::intern_key(const std::string& name) {
  if (const std::optional<KeyIndex> known = state_.keys.find(name)) return *known;
  const KeyIndex index = state_.keys.add(name);
  state_.core.set_key(index, KeyPolicy{.id = name});
  return index;
}

void Committer::configure(const QueuePolicy& policy) {
  {
    const std::scoped_lock lock(state_.mutex);
    set_policies(policy);
  }
  configured_ = true;
  list_unserved();
  run_batch({});  // ends the recovery, the first time
  std::vector<ModelIndex> waiting;
  for (std::size_t i = 0; i < state_.models.size(); ++i) {
    const auto model = static_cast<ModelIndex>(i);
    if (state_.core.queued(model) > 0 && !state_.model_flags[i].paused) waiting.push_back(model);
  }
  tell_claimable(waiting);
}

void Committer::set_policies(const QueuePolicy& policy) {
  for (QueueState::ModelFlags& flags : state_.model_flags) flags.served = false;
  for (const ModelPolicy& model : policy.models) {
    const ModelIndex index = intern_model(model.id);
    state_.model_flags[static_cast<std::size_t>(index)].served = true;
    state_.core.set_model(index, model);
  }
  // Those that are not named, among them keys that are gone, get the defaults.
  for (std::size_t i = 0; i < state_.keys.size(); ++i) {
    const auto index = static_cast<KeyIndex>(i);
    state_.core.set_key(index, KeyPolicy{.id = state_.keys.name(index)});
  }
  for (const KeyPolicy& key : policy.keys) state_.core.set_key(intern_key(key.id), key);
}

void Committer::list_unserved() {
  unserved_.clear();
  for (std::size_t i = 0; i < state_.model_flags.size(); ++i) {
    if (!state_.model_flags[i].served) unserved_.push_back(static_cast<ModelIndex>(i));
  }
}

void Committer::probe() {
  if (clock_.now().steady < next_probe_) return;
  // An empty transaction. The outcome is noted where it matters: in whether the store counts as
  // writable.
  static_cast<void>(commit_journal());
}

}  // namespace quern
