#pragma once
// The executor "process": one program per task, JSON on its stdin, JSON lines on its stdout.

#include <map>
#include <mutex>
#include <set>
#include <string>

#include "artifact/artifact_store.h"
#include "base/clock.h"
#include "runner/child_process.h"
#include "runner/executor.h"
#include "runner/process_guard.h"

namespace quern {

/// Operation: the program gets `{"request_id","model","attempt","input","output_dir","deadline"}`
/// and then says what it likes, as docs/MODELS.md tells. Its tree is dead when run() returns.
/// Limits: a line (runner_lines.h), all results (output_collector.h), a stop's grace
/// (Model::grace). Threads: any.
class ProcessExecutor final : public Executor {
 public:
  /// Programs are started with `umask`: what they make outside of their attempt's folders is theirs.
  ProcessExecutor(ArtifactStore& store, ProcessGuard& guard, const Clock& clock,
                  mode_t umask = 022);

  Ending run(const Run& run, ProgressSink& sink, std::stop_token stop) override;
  [[nodiscard]] bool uses_files() const override { return true; }

 private:
  Ending failed_start(const Run& run, const Error& error);
  void started_well(const std::string& model);

  ArtifactStore& store_;
  ProcessGuard& guard_;
  const Clock& clock_;
  const mode_t umask_;
  std::mutex mutex_;                   // guards unstartable_
  std::set<std::string> unstartable_;  // models whose last start failed: said once in the log
};

/// What the program reads on stdin.
std::string make_runner_input(const Run& run);
/// PATH, HOME and LANG, the model's own table, which wins over them, and TMPDIR, which is the attempt's.
std::map<std::string, std::string> make_runner_environment(const Run& run);

}  // namespace quern
