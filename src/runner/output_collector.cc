#include "runner/output_collector.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <span>
#include <string_view>
#include <unordered_map>
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

// A full disk is not the runner's fault, and its work is too dear to be thrown away: wait for room,
// and let no sweep take those `before` meanwhile.
Result<Output> adopt_patiently(ArtifactStore& store, const AttemptFolders& folders,
                               const RunnerOutput& output, std::span<const Output> before,
                               const std::stop_token& stop) {
  for (auto wait = kFullWaitMin;; wait = std::min(wait * 2, kFullWaitMax)) {
    Result<Output> adopted = store.adopt(folders, output.path, output.type, stop);
    if (adopted || adopted.error().code != ErrorCode::unavailable) return adopted;
    wait_unless_stopped(wait, stop);
    store.touch(before);
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

/// Where the file lies, links resolved: a runner may name one by several paths. It tells files apart,
/// no more: what is taken, and from where, is checked by the store.
std::string find_place(const AttemptFolders& folders, const RunnerOutput& output) {
  if (output.path.empty()) return {};
  std::error_code error;
  const std::filesystem::path named = folders.output / output.path;
  const std::filesystem::path place = std::filesystem::canonical(named, error);
  return error ? named : place;
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

Result<void> OutputCollector::read_text_file(RunnerOutput& output, const ArtifactStore& store,
                                             const AttemptFolders& folders) {
  if (output.type != OutputType::text || output.text) return {};
  Result<std::string> text = read_text(store, folders, output);
  if (!text) return fail(std::move(text));
  // It goes into the store with the result, as if it had come in the line.
  if (!has_room(text->size())) return fail(ErrorCode::invalid_argument, fault_);
  output.text = std::move(*text);
  return {};
}

std::optional<Outcome> OutputCollector::failed_at(std::size_t index, const Error& error,
                                                  const std::stop_token& stop) const {
  if (error.code == ErrorCode::unavailable && stop.stop_requested()) return std::nullopt;
  if (!fault_.empty()) return failed_outcome(error, fault_);
  return failed_outcome(error, fmt::format("output {} {}", index + 1, error.message));
}

std::optional<Outcome> OutputCollector::conclude(ArtifactStore& store,
                                                 const AttemptFolders& folders,
                                                 const std::stop_token& stop) {
  if (!fault_.empty()) return failed_outcome({.code = ErrorCode::invalid_argument}, fault_);
  // All are looked at before one is moved away: a later line may name it again.
  std::vector<std::string> places;
  places.reserve(outputs_.size());
  for (RunnerOutput& output : outputs_) {
    Result<void> read = read_text_file(output, store, folders);
    if (!read) return failed_at(places.size(), read.error(), stop);
    places.push_back(find_place(folders, output));
  }
  Outcome outcome{.end = AttemptEnd::succeeded};
  outcome.outputs.reserve(outputs_.size());
  std::unordered_map<std::string_view, std::size_t> first_at;  // by place: the first that names it
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    Output& made = outcome.outputs.emplace_back();
    if (!outputs_[i].path.empty()) {
      const auto [first, is_new] = first_at.try_emplace(places[i], i);
      Result<Output> kept =
          is_new ? adopt_patiently(store, folders, outputs_[i], outcome.outputs, stop)
                 : outcome.outputs[first->second];
      if (!kept) {
        store.remove(outcome.outputs);
        return failed_at(i, describe(kept.error(), outputs_[i]), stop);
      }
      made = std::move(*kept);
    }
    made.type = outputs_[i].type;
    made.text = std::move(outputs_[i].text);
    made.metadata_json = std::move(outputs_[i].metadata_json);
  }
  if (!metadata_.empty()) outcome.metadata_json = to_json(metadata_);
  return outcome;
}

}  // namespace quern
