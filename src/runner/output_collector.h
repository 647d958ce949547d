#pragma once
// Gathers what a process runner says of its results, and turns it into an outcome when the program
// has ended well.

#include <cstddef>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "artifact/artifact_store.h"
#include "base/json.h"
#include "base/result.h"
#include "runner/runner_lines.h"
#include "task/task.h"

namespace quern {

inline constexpr std::size_t kResultBytesMax =
    16U << 20U;  // of all output and metadata lines of one attempt, and the texts of its files

/// Threads: one at a time.
class OutputCollector {
 public:
  /// `bytes` is the length of the line that said so.
  void add(Result<RunnerOutput> output, std::size_t bytes);
  /// Later members replace earlier ones of the same name.
  void add(json::object metadata, std::size_t bytes);

  /// What was said that makes no sense, the first of it; empty: nothing.
  [[nodiscard]] const std::string& fault() const { return fault_; }

  /// Moves the files into the store; outputs that name one file share it there. An outcome that is not
  /// succeeded has left nothing there. Waits for room while the store is full; nullopt if the stop
  /// came first.
  std::optional<Outcome> conclude(ArtifactStore& store, const AttemptFolders& folders,
                                  const std::stop_token& stop);

 private:
  bool has_room(std::size_t bytes);
  void refuse(std::string reason);
  Result<void> read_text_file(RunnerOutput& output, const ArtifactStore& store,
                              const AttemptFolders& folders);
  /// As conclude().
  [[nodiscard]] std::optional<Outcome> failed_at(std::size_t index, const Error& error,
                                                 const std::stop_token& stop) const;

  std::vector<RunnerOutput> outputs_;
  json::object metadata_;
  std::size_t bytes_ = 0;
  std::string fault_;  // the first; empty: none
};

}  // namespace quern
