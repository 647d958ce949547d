#pragma once
// Brings claimed tasks to their executors: slots, leases, timeouts, stops and the way back into the
// queue.

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "artifact/artifact_store.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/result.h"
#include "catalog/catalog.h"
#include "queue/queue.h"
#include "runner/executor.h"
#include "runner/input_files.h"

namespace quern {

/// Operation: claims a model's tasks while it has free slots and the queue said that there are
/// some; asks nothing while idle. An attempt has a thread from a pool until it is finished; what an
/// instant executor was claimed for runs in batches, on two threads however many models there are.
/// A slot is free again as soon as the work has ended, so that finish and the next claim may share
/// a commit; that of a key with a limit of running tasks when the finish is on its way. One more thread sends heartbeats and news, and watches timeouts.
///
/// It is to be the queue's observer, by `queue.observe(&dispatcher)` or behind another that passes
/// the calls on. The queue and the store outlive it; both answer until it is gone.
///
/// Metrics: quern_attempts_total, quern_attempts_running, quern_attempt_seconds, quern_slots, by
/// model. Threads: any.
class Dispatcher final : public QueueObserver {
 public:
  struct Options {
    /// By ExecutorSpec::kind.
    std::map<std::string, std::shared_ptr<Executor>, std::less<>> executors;
    InputFileOptions input_files;
    std::chrono::milliseconds lease_ttl{30'000};  // heartbeats come three times as often
    std::chrono::milliseconds news_interval{
        100};  // least time between two reports of one attempt's progress and logs
    std::uint32_t instant_batch = 256;  // tasks per claim of an instant executor
  };

  Dispatcher(Queue& queue, ArtifactStore& store, const Clock& clock, Metrics& metrics,
             Options options);
  /// Like drain without patience.
  ~Dispatcher() override;

  /// Serves these models from now on. What runs goes on under the catalog that it began with.
  /// Errors: invalid_argument (no executor of that kind; nothing was changed).
  Result<void> configure(std::shared_ptr<const Catalog> catalog);

  /// Claims no more, for good. Waits up to `patience` for running attempts, then stops the rest and
  /// hands them back without spending their attempt. Returns when nothing runs.
  void drain(std::chrono::milliseconds patience);

  void on_claimable(const std::string& model) override;
  void on_stop(const Lease& lease, bool canceled) override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quern
