#pragma once
// An executor runs one kind of model: a claim in, an outcome out.

#include <chrono>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>

#include "artifact/artifact_store.h"
#include "base/clock.h"
#include "catalog/model.h"
#include "queue/queue.h"
#include "task/task.h"

namespace quern {

/// Where a running attempt's news goes. Threads: any.
class ProgressSink {
 public:
  virtual ~ProgressSink() = default;
  virtual void progress(double fraction) = 0;  // 0 to 1
  virtual void log(LogEntry entry) = 0;
  /// The work itself is over, and what it held is free for the next; only bookkeeping follows.
  virtual void work_ended() {}
};

/// One attempt, as an executor sees it.
struct Run {
  const Claim& claim;
  const Model& model;
  std::string input_json;  // defaults filled in, URLs of files replaced by paths
  AttemptFolders folders;  // empty paths for executors that use none
  WallTime deadline;       // start of the attempt plus the model's timeout
};

/// Blocks until the attempt has really ended. When a stop is asked for, the executor ends the work
/// (the whole process tree, the remote job) and returns; it says `stopped` if the stop, and not the
/// work's own end, ended it. Why it was stopped (cancel, timeout, shutdown, lost lease) is the
/// dispatcher's business. Threads: run() is called from many threads at once, one per running
/// attempt.
class Executor {
 public:
  struct Ending {
    /// Meaningless if stopped, and not had_failed. Unstarted: this machine lacked what it takes to begin
    /// (processes, descriptors, room), and the model is not to blame; its reason says what.
    Outcome outcome;
    bool stopped = false;
    /// Stopped, but by then the work had said that it failed: the outcome holds, unless nobody wants
    /// any (a cancel, a lost lease).
    bool had_failed = false;
  };

  virtual ~Executor() = default;
  virtual Ending run(const Run& run, ProgressSink& sink, std::stop_token stop) = 0;
  /// Needs work folders and files in place of URLs.
  [[nodiscard]] virtual bool uses_files() const = 0;
  /// Takes microseconds and never blocks: may run on any thread, many claims in a row.
  [[nodiscard]] virtual bool is_instant() const { return false; }
};

}  // namespace quern
