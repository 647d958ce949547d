#pragma once
// Removes files that are no longer wanted, away from the threads that serve.

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "artifact/artifact_store.h"
#include "base/clock.h"
#include "base/paced_wall.h"
#include "task/task.h"

namespace quern {

struct JanitorOptions {
  std::chrono::milliseconds uploads_ttl = std::chrono::hours{24};
  std::chrono::milliseconds results_ttl = std::chrono::hours{24};
  std::chrono::milliseconds sweep_interval = std::chrono::minutes{1};
};

inline constexpr std::size_t kSweepMax = 500;                // files a step
inline constexpr std::chrono::hours kUnclaimedOutputTtl{1};  // beyond results_ttl

/// Operation: outputs of expired tasks go as they are told of; uploads, and output files that a
/// crash left without a task, go by age. A file that the crash of the server kept from being
/// removed is found by its age, too. Ages are counted by a paced clock: a wall clock that jumps
/// forward takes no file from a task that still has it. Services: start() and stop() are idempotent; stop() drops what
/// is left to do, the sweep finds it again. Threads: any.
class Janitor {
 public:
  Janitor(ArtifactStore& store, const Clock& clock, JanitorOptions options);
  ~Janitor();
  void start();
  void stop();
  /// Never blocks on the disk.
  void remove(std::span<const Output> outputs);

 private:
  void run(const std::stop_token& stop);
  // One step. True: there may be more.
  bool sweep();

  ArtifactStore& store_;
  const Clock& clock_;
  const JanitorOptions options_;
  PacedWall wall_;    // of the thread alone
  std::mutex mutex_;  // guards unwanted_
  std::condition_variable_any wake_;
  std::vector<Output> unwanted_;
  std::jthread thread_;
};

}  // namespace quern
