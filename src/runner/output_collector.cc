#include "runner/output_collector.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <utility>

#include "base/utf8.h"
#include "queue/queue.h"

namespace quern {
namespace {

constexpr std::chrono::milliseconds kFullWaitMin{100};
constexpr std::chrono::milliseconds kFullWaitMax{5'000};
constexpr std::size_t kPathShownBytesMax = 200;  // of a path, in a reason

// What the runner did wrong it would do again; trouble of our own may pass.
Outcome failed_outcome(const Error& error, std::string reason) {
  const bool runners_fault = error.code == ErrorCode::invalid_argument;
  return {
      .end = AttemptEnd::failed,
      .error_type = runners_fault ? ErrorType::inference_failure : ErrorType::internal_server_error,
      .retryable = !runners_fault,
      .reason = std::move(reason)};
}

void wait_unless_stopped(std::chrono::milliseconds time, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait_for(lock, stop, time, [] { return false; });
}

// A full disk is not the runner's fault, and its work is too dear to be thrown away: wait for room.
Result<Output> adopt_patiently(ArtifactStore& store, const AttemptFolders& folders,
                               const RunnerOutput& output, const std::stop_token& stop) {
  for (auto wait = kFullWaitMin;; wait = std::min(wait * 2, kFullWaitMax)) {
    Result<Output> adopted = store.adopt(folders, output.path, output.type);
    if (adopted || adopted.error().code != ErrorCode::unavailable) return adopted;
    wait_unless_stopped(wait, stop);
    if (stop.stop_requested()) return adopted;
  }
}

// The path as the runner gave it may be one of this machine's, which is nobody else's business.
Error describe(const Error& error, const RunnerOutput& output) {
  if (error.code == ErrorCode::unavailable) return {error.code, "cannot be stored"};
  const std::filesystem::path path(output.path);
  const std::string shown = path.is_absolute() ? path.filename().string() : output.path;
  if (error.code == ErrorCode::too_large) {
    return {ErrorCode::invalid_argument, "has a text of more than 1 MiB"};
  }
  return {error.code, fmt::format("\"{}\" is missing, no regular file, or outside of output_dir",
                                  log_text(shown, kPathShownBytesMax))};
}

Result<std::string> read_text(const ArtifactStore& store, const AttemptFolders& folders,
                              const RunnerOutput& output) {
  Result<std::string> text = store.read_output(folders, output.path, kOutputTextBytesMax);
  if (!text) return std::unexpected(describe(text.error(), output));
  if (find_invalid_utf8(*text) != std::string_view::npos) {
    return fail(ErrorCode::invalid_argument, "has a text that is not UTF-8");
  }
  return text;
}

}  // namespace

void OutputCollector::refuse(std::string reason) {
  if (fault_.empty()) fault_ = std::move(reason);
}

bool OutputCollector::has_room(std::size_t bytes) {
  bytes_ += bytes;
  if (bytes_ > kResultBytesMax) refuse("more than 16 MiB of output and metadata lines");
  return fault_.empty();
}

void OutputCollector::add(Result<RunnerOutput> output, std::size_t bytes) {
  const std::size_t number = outputs_.size() + 1;
  if (!has_room(bytes)) return;
  if (!output) return refuse(fmt::format("output {} {}", number, output.error().message));
  if (number > kOutputsMax) return refuse(fmt::format("more than {} outputs", kOutputsMax));
  outputs_.push_back(std::move(*output));
}

void OutputCollector::add(json::object metadata, std::size_t bytes) {
  if (!has_room(bytes)) return;
  for (json::key_value_pair& member : metadata) {
    metadata_.insert_or_assign(member.key(), std::move(member.value()));
  }
}

Result<Output> OutputCollector::make_output(RunnerOutput& output, ArtifactStore& store,
                                            const AttemptFolders& folders,
                                            const std::stop_token& stop) {
  if (output.text) {
    return Output{.type = output.type,
                  .text = std::move(output.text),
                  .metadata_json = std::move(output.metadata_json)};
  }
  if (output.type == OutputType::text) {
    Result<std::string> text = read_text(store, folders, output);
    if (!text) return fail(std::move(text));
    // It goes into the store with the result, as if it had come in the line.
    if (!has_room(text->size())) return fail(ErrorCode::invalid_argument, fault_);
    output.text = std::move(*text);
  }
  Result<Output> adopted = adopt_patiently(store, folders, output, stop);
  if (!adopted) return std::unexpected(describe(adopted.error(), output));
  adopted->text = std::move(output.text);
  adopted->metadata_json = std::move(output.metadata_json);
  return adopted;
}

std::optional<Outcome> OutputCollector::conclude(ArtifactStore& store,
                                                 const AttemptFolders& folders,
                                                 const std::stop_token& stop) {
  if (!fault_.empty()) return failed_outcome({.code = ErrorCode::invalid_argument}, fault_);
  Outcome outcome{.end = AttemptEnd::succeeded};
  outcome.outputs.reserve(outputs_.size());
  for (RunnerOutput& output : outputs_) {
    Result<Output> made = make_output(output, store, folders, stop);
    if (made) {
      outcome.outputs.push_back(std::move(*made));
      continue;
    }
    store.remove(outcome.outputs);
    if (made.error().code == ErrorCode::unavailable && stop.stop_requested()) return std::nullopt;
    if (!fault_.empty()) return failed_outcome(made.error(), fault_);
    return failed_outcome(made.error(), fmt::format("output {} {}", outcome.outputs.size() + 1,
                                                    made.error().message));
  }
  if (!metadata_.empty()) outcome.metadata_json = to_json(metadata_);
  return outcome;
}

}  // namespace quern
