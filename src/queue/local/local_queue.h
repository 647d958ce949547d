#pragma once
// The embedded queue: QueueCore in memory, a redo log and SQLite's tables beneath it, one process.
//
//   auto queue = LocalQueue::open({.folder = "data", …});   // recovers what was live
//   (*queue)->observe(&dispatcher);
//   (*queue)->start();
//   (*queue)->configure(policy, …);                          // ends the recovery; submits and
//   claims work from here on
//
// Durability: a reply that says success comes after the change is synced (journal.h). Threads:
// replies come on the caller's thread where no disk is needed (a task's state, a result of late),
// else on the commit thread or a reader thread. A store that cannot be written (disk full, read-only,
// I/O errors) refuses what would change it with `unavailable` and keeps everything else going: polls,
// heartbeats and running tasks; a runner's finish is refused too and must be repeated until it is
// taken or the lease is lost. It recovers by itself. Memory: about 200 bytes a queued task; bodies and
// results beyond the two caches are on disk only. The files stop growing once as much is forgotten as
// comes in; pages are used again, never given back.

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/random.h"
#include "base/result.h"
#include "queue/local/data_folder.h"
#include "queue/queue.h"

namespace quern {

struct LocalQueueOptions {
  std::filesystem::path folder;                                 // made if it is not there
  std::chrono::milliseconds retention{std::chrono::hours{24}};  // of ended tasks, from their end
  std::size_t body_cache_bytes = 32 * 1024 * 1024;
  std::size_t result_cache_bytes = 64 * 1024 * 1024;
  std::size_t readers = 2;               // threads for history, lists and old results
  std::size_t checkpoint_pages = 1'500;  // of 4 KiB, in SQLite's write-ahead log
};

class LocalQueue final : public Queue {
 public:
  /// Everything passed in outlives the queue.
  /// Errors: conflict (the folder is in use, or its store is of a newer version), unavailable,
  /// data_loss.
  static Result<std::unique_ptr<LocalQueue>> open(const LocalQueueOptions& options, Clock& clock,
                                                  Random& random, Metrics& metrics);
  /// In a folder that is held already, and not `options.folder`.
  static Result<std::unique_ptr<LocalQueue>> open(DataFolder folder,
                                                  const LocalQueueOptions& options, Clock& clock,
                                                  Random& random, Metrics& metrics);
  ~LocalQueue() override;

  /// Both idempotent. stop() carries out what was asked for before it, then ends all threads; calls
  /// after it get `unavailable`. A queue does not start again.
  void start();
  void stop();
  /// Looks at the clock again, for clocks that jump (ManualClock).
  void wake();

  void submit(Submission submission, Reply<Submitted> reply) override;
  void find_replay(const IdempotencyKey& key, Reply<std::optional<Submitted>> reply) override;
  void claim(ClaimRequest request, Reply<std::vector<Claim>> reply) override;
  void heartbeat(const Lease& lease, Beat beat, Reply<BeatAnswer> reply) override;
  void finish(const Lease& lease, Outcome outcome, Reply<TaskState> reply) override;
  void cancel(const TaskRef& ref, Reply<CancelAnswer> reply) override;
  void find(const TaskQuery& query, Reply<TaskView> reply) override;
  Watch watch(const TaskId& id, WatchFor what, std::function<void()> changed) override;
  void list(const TaskFilter& filter, Reply<TaskPage> reply) override;
  void retry(const TaskRef& ref, Reply<TaskState> reply) override;
  void purge(const TaskRef& ref, Reply<bool> reply) override;
  void pause(const std::string& model, bool paused, Reply<bool> reply) override;
  void configure(QueuePolicy policy, Reply<bool> reply) override;
  QueueStats stats() override;
  void observe(QueueObserver* observer) override;

  /// Tests only: the store takes no writes, as on a full disk.
  void set_disk_full(bool full);

 private:
  struct Impl;
  explicit LocalQueue(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quern
