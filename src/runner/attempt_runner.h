#pragma once
// Runs one attempt from its claim to its outcome: folders, input, executor, and what a stop made of
// it.

#include <optional>
#include <string>

#include "artifact/artifact_store.h"
#include "base/clock.h"
#include "runner/executor.h"
#include "runner/input_files.h"
#include "runner/running_attempt.h"

namespace quern {

/// Threads: any.
class AttemptRunner {
 public:
  AttemptRunner(ArtifactStore& store, const Clock& clock, InputFileOptions input_files)
      : store_(store), clock_(clock), input_files_(std::move(input_files)) {}

  struct Ran {
    Outcome outcome;                // meaningless if the lease is lost
    AttemptFolders folders;         // to be removed by clean_up(); none if the machine is short
    bool is_machine_short = false;  // handed back for want of room, processes or descriptors
  };

  /// Blocks until the attempt has really ended.
  Ran run(RunningAttempt& attempt, Executor& executor) const;
  /// At once, for an executor that says it is instant: without folders, news and stops.
  Outcome run_instantly(const Claim& claim, const Model& model, Executor& executor) const;
  void clean_up(const Ran& ran) const;

 private:
  Ran run_in(AttemptFolders& folders, RunningAttempt& attempt, Executor& executor) const;
  /// The input failed for want of something that this machine lacks for everybody's. Removes the folders
  /// if need be.
  bool is_lacking(const Error& error, AttemptFolders& folders) const;
  Outcome try_instantly(const Claim& claim, const Model& model, Executor& executor) const;
  Outcome stopped_outcome(const RunningAttempt& attempt) const;

  ArtifactStore& store_;
  const Clock& clock_;
  InputFileOptions input_files_;
};

}  // namespace quern
