#include "runner/process_executor.h"

#include <fmt/format.h>

#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/log.h"
#include "runner/runner_conversation.h"

namespace quern {
namespace {

std::string variable_or(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

ChildSpec make_spec(const Run& run, mode_t umask) {
  const auto environment = make_runner_environment(run);
  ChildSpec spec{.command = run.model.executor.command, .folder = run.model.executor.dir};
  for (const auto& [name, value] : environment) {
    spec.environment.push_back(fmt::format("{}={}", name, value));
  }
  spec.tag = tag_of(run.folders.temp.string());
  spec.umask = umask;
  return spec;
}

Outcome failed(ErrorType type, std::string reason) {
  return {.end = AttemptEnd::failed,
          .error_type = type,
          .retryable = true,
          .reason = std::move(reason)};
}

Outcome told_error(RunnerError error, const ChildEnd& end) {
  return {.end = AttemptEnd::failed,
          .error_type = error.type,
          .error = std::move(error.text),
          .retryable = error.retryable,
          .reason = "error line, " + end.describe()};
}

// What made no sense would make none the next time either.
Outcome failed_exit(const ChildEnd& end, const std::string& fault) {
  if (fault.empty()) return failed(ErrorType::inference_failure, end.describe());
  Outcome outcome =
      failed(ErrorType::inference_failure, fmt::format("{}, {}", fault, end.describe()));
  outcome.retryable = false;
  return outcome;
}

}  // namespace

std::string make_runner_input(const Run& run) {
  std::string text = R"({"request_id":)";
  append_json_string(text, run.claim.lease.task.to_string());
  text += R"(,"model":)";
  append_json_string(text, run.model.id);
  text += fmt::format(R"(,"attempt":{},"input":)", run.claim.attempt);
  text += run.input_json;
  text += R"(,"output_dir":)";
  append_json_string(text, run.folders.output.string());
  text += R"(,"deadline":)";
  append_json_string(text, format_rfc3339(run.deadline));
  text += "}\n";
  return text;
}

std::map<std::string, std::string> make_runner_environment(const Run& run) {
  std::map<std::string, std::string> environment{
      {"PATH", variable_or("PATH", "/usr/local/bin:/usr/bin:/bin")},
      {"HOME", variable_or("HOME", "/")},
      {"LANG", variable_or("LANG", "C.UTF-8")},
  };
  for (const auto& [name, value] : run.model.executor.env)
    environment.insert_or_assign(name, value);
  // Only a folder that no one else has tells whose a process is.
  environment.insert_or_assign("TMPDIR", run.folders.temp.string());
  return environment;
}

ProcessExecutor::ProcessExecutor(ArtifactStore& store, ProcessGuard& guard, const Clock& clock,
                                 mode_t umask)
    : store_(store), guard_(guard), clock_(clock), umask_(umask) {}

Executor::Ending ProcessExecutor::failed_start(const Run& run, const Error& error) {
  if (error.code == ErrorCode::unavailable) {
    return {.outcome = {.end = AttemptEnd::unstarted, .reason = error.message}};
  }
  bool first = false;
  {
    const std::scoped_lock lock(mutex_);
    first = unstartable_.insert(run.model.id).second;
  }
  if (first) {
    log_error("the program of a model cannot be started",
              {{"model", run.model.id},
               {"folder", run.model.executor.dir.string()},
               {"reason", error.message}});
  }
  return {.outcome = failed(ErrorType::inference_failure, error.message)};
}

void ProcessExecutor::started_well(const std::string& model) {
  const std::scoped_lock lock(mutex_);
  if (!unstartable_.empty() && unstartable_.erase(model) > 0) {
    log_info("the program of a model starts again", {{"model", model}});
  }
}

Executor::Ending ProcessExecutor::run(const Run& run, ProgressSink& sink, std::stop_token stop) {
  const SteadyTime begun = clock_.now().steady;
  Result<FileDescriptor> wake = Conversation::make_wake();
  if (!wake) return failed_start(run, wake.error());
  Result<ChildProcess> child = ChildProcess::start(make_spec(run, umask_), guard_);
  if (!child) return failed_start(run, child.error());
  started_well(run.model.id);

  Conversation talk(
      *child, sink, clock_,
      {.input = make_runner_input(run), .wake = std::move(*wake), .grace = run.model.grace});
  Conversation::End end = talk.hold(stop);
  const auto run_time = clock_.now().steady - begun;
  sink.work_ended();

  Ending ending{.stopped = end.stopped, .had_failed = end.error_first};
  if (end.error) {
    ending.outcome = told_error(std::move(*end.error), end.child);
  } else if (!end.child.is_success()) {
    ending.outcome = failed_exit(end.child, talk.outputs().fault());
  } else if (!end.stopped) {
    std::optional<Outcome> outcome = talk.outputs().conclude(store_, run.folders, stop);
    ending.stopped = !outcome.has_value();
    if (outcome) ending.outcome = std::move(*outcome);
  }
  ending.outcome.run_time = run_time;
  return ending;
}

}  // namespace quern
