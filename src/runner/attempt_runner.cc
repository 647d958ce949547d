#include "runner/attempt_runner.h"

#include <fmt/format.h>

#include <exception>
#include <utility>

#include "artifact/file_ops.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/units.h"
#include "runner/attempt_input.h"
#include "runner/runner_lines.h"

namespace quern {
namespace {

class NoNews final : public ProgressSink {
 public:
  void progress(double /*fraction*/) override {}
  void log(LogEntry /*entry*/) override {}
};

// That is nobody's attempt.
bool is_shortage(const Error& error) {
  return error.code == ErrorCode::unavailable && error.retry_after == kShortageRetryAfter;
}

bool is_disk_full(const Error& error) {
  return error.code == ErrorCode::unavailable && error.retry_after == kDiskFullRetryAfter;
}

// What is wrong with the input is the caller's to know; what is wrong with us is not.
Outcome input_failure(const Error& error) {
  Outcome outcome{.end = AttemptEnd::failed};
  switch (error.code) {
    case ErrorCode::invalid_argument:
      outcome.error_type = ErrorType::request_invalid;
      outcome.error = log_text(error.message, kErrorTextBytesMax);
      break;
    case ErrorCode::unavailable:
      outcome.error_type = ErrorType::inference_failure;
      outcome.error = log_text(error.message, kErrorTextBytesMax);
      outcome.retryable = true;
      break;
    default:
      outcome.error_type = ErrorType::internal_server_error;
      break;
  }
  outcome.reason = fmt::format("input: {}", log_text(error.message, kErrorTextBytesMax));
  return outcome;
}

// What makes an input and an executor are ours and should not throw, but the libraries under them
// may, if only for lack of memory. Not handed back: an input that never fits would come for ever.
// What they say is for the log alone: it may name a path.
Outcome thrown_outcome(const Model& model, const std::exception& error) {
  log_error("an attempt threw", {{"model", model.id}, {"what", error.what()}});
  return {.end = AttemptEnd::failed,
          .error_type = ErrorType::internal_server_error,
          .retryable = true,
          .reason = "the attempt could not go on"};
}

AttemptRunner::Ran machine_is_short(std::string reason) {
  return {.outcome = {.end = AttemptEnd::unstarted, .reason = std::move(reason)},
          .is_machine_short = true};
}

// Whatever came of it.
bool is_unwanted(const RunningAttempt& attempt) {
  const StopReason reason = attempt.stop_reason();
  return reason == StopReason::canceled || reason == StopReason::lost;
}

Outcome with_prompt(Outcome outcome, const std::string& prompt) {
  if (outcome.end == AttemptEnd::succeeded) {
    outcome.metadata_json = add_prompt(std::move(outcome.metadata_json), prompt);
  }
  return outcome;
}

}  // namespace

Outcome AttemptRunner::stopped_outcome(const RunningAttempt& attempt) const {
  Outcome outcome;
  switch (attempt.stop_reason()) {
    case StopReason::none:
      break;
    case StopReason::shutdown:
      outcome = {.end = AttemptEnd::released, .reason = "the server stopped"};
      break;
    case StopReason::timeout:
      outcome = {.end = AttemptEnd::failed,
                 .error_type = ErrorType::inference_timeout,
                 .reason = "timed out after " + format_duration(attempt.model().timeout)};
      break;
    case StopReason::canceled:
      outcome = {
          .end = AttemptEnd::canceled, .error_type = ErrorType::canceled, .reason = "canceled"};
      break;
    case StopReason::lost:
      break;  // nobody asks any more
  }
  outcome.run_time = clock_.now().steady - attempt.started().steady;
  return outcome;
}

AttemptRunner::Ran AttemptRunner::run(RunningAttempt& attempt, Executor& executor) const {
  AttemptFolders folders;
  Ran ran;
  try {
    ran = run_in(folders, attempt, executor);
  } catch (const std::exception& error) {
    ran = {.outcome = thrown_outcome(attempt.model(), error)};
  }
  if (ran.is_machine_short) {
    store_.remove_folders(folders);
  } else {
    ran.folders = std::move(folders);
  }
  return ran;
}

// Makes the folders, if they are needed: whatever happens then, `folders` has those that are there.
AttemptRunner::Ran AttemptRunner::run_in(AttemptFolders& folders, RunningAttempt& attempt,
                                         Executor& executor) const {
  if (executor.uses_files()) {
    auto made = store_.make_folders(attempt.lease().task, attempt.lease().token);
    if (!made) return machine_is_short("no folders: " + made.error().message);
    folders = std::move(*made);
  }
  const Claim& claim = attempt.claim();
  const Model& model = attempt.model();
  auto input = executor.uses_files() ? make_input_with_files(model, claim.input, folders, store_,
                                                             input_files_, attempt.stop_token())
                                     : make_input(model, claim.input);
  if (attempt.stop_reason() != StopReason::none) {
    Outcome outcome = stopped_outcome(attempt);
    if (outcome.end == AttemptEnd::released) outcome.end = AttemptEnd::unstarted;
    return {.outcome = std::move(outcome)};
  }
  if (!input && is_lacking(input.error(), folders)) {
    return machine_is_short("input: " + input.error().message);
  }
  if (!input) return {.outcome = input_failure(input.error())};

  const Run run{.claim = claim,
                .model = model,
                .input_json = std::move(input->json),
                .folders = folders,
                .deadline = attempt.started().wall + model.timeout};
  Executor::Ending ending = executor.run(run, attempt, attempt.stop_token());
  if (ending.outcome.end == AttemptEnd::unstarted) {
    return machine_is_short(std::move(ending.outcome.reason));
  }
  if (!ending.stopped) {
    return {.outcome = with_prompt(std::move(ending.outcome), input->prompt)};
  }
  QUERN_ASSERT(attempt.stop_reason() != StopReason::none);
  if (ending.had_failed && !is_unwanted(attempt)) return {.outcome = std::move(ending.outcome)};
  return {.outcome = stopped_outcome(attempt)};
}

// Where the disk has room once this input's files are gone, it was they that did not fit, and they may
// never do: whatever stands behind the task is not to wait for that.
bool AttemptRunner::is_lacking(const Error& error, AttemptFolders& folders) const {
  if (is_shortage(error)) return true;
  if (!is_disk_full(error)) return false;
  store_.remove_folders(std::exchange(folders, {}));
  return store_.is_full();
}

Outcome AttemptRunner::run_instantly(const Claim& claim, const Model& model,
                                     Executor& executor) const {
  try {
    return try_instantly(claim, model, executor);
  } catch (const std::exception& error) {
    return thrown_outcome(model, error);
  }
}

Outcome AttemptRunner::try_instantly(const Claim& claim, const Model& model,
                                     Executor& executor) const {
  auto input = make_input(model, claim.input);
  if (!input) return input_failure(input.error());
  const Now now = clock_.now();
  const Run run{.claim = claim,
                .model = model,
                .input_json = std::move(input->json),
                .folders = {},
                .deadline = now.wall + model.timeout};
  NoNews nobody;
  return with_prompt(executor.run(run, nobody, {}).outcome, input->prompt);
}

void AttemptRunner::clean_up(const Ran& ran) const { store_.remove_folders(ran.folders); }

}  // namespace quern
