#include "server/janitor.h"

#include <algorithm>

#include "base/thread_name.h"

namespace quern {
namespace {
// Between two steps of a long sweep, so that serving goes first.
constexpr std::chrono::milliseconds kStepPause{20};
}  // namespace

Janitor::Janitor(ArtifactStore& store, const Clock& clock, JanitorOptions options)
    : store_(store), clock_(clock), options_(options), wall_(clock.now()) {}

Janitor::~Janitor() { stop(); }

void Janitor::start() {
  if (thread_.joinable()) return;
  thread_ = std::jthread([this](const std::stop_token& stop) {
    name_this_thread("quern-janitor");
    run(stop);
  });
}

void Janitor::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
}

void Janitor::remove(std::span<const Output> outputs) {
  {
    const std::scoped_lock lock(mutex_);
    for (const Output& output : outputs) {
      if (!output.file_key.empty()) unwanted_.push_back(output);
    }
  }
  wake_.notify_one();
}

void Janitor::run(const std::stop_token& stop) {
  const auto shortest = std::min(kStepPause, options_.sweep_interval);
  auto next_sweep = clock_.now().steady;
  while (!stop.stop_requested()) {
    std::vector<Output> batch;
    {
      std::unique_lock lock(mutex_);
      const auto pause = std::clamp<std::chrono::microseconds>(next_sweep - clock_.now().steady,
                                                               shortest, options_.sweep_interval);
      wake_.wait_for(lock, stop, pause, [&] { return !unwanted_.empty(); });
      const auto count = std::min(unwanted_.size(), kSweepMax);
      const auto from = unwanted_.end() - static_cast<std::ptrdiff_t>(count);
      batch.assign(from, unwanted_.end());
      unwanted_.erase(from, unwanted_.end());
    }
    store_.remove(batch);
    if (clock_.now().steady < next_sweep) continue;
    const bool more = sweep();
    next_sweep = more ? clock_.now().steady : clock_.now().steady + options_.sweep_interval;
  }
}

bool Janitor::sweep() {
  const WallTime now = wall_.at(clock_.now());
  const std::size_t uploads = store_.sweep_uploads(now - options_.uploads_ttl, kSweepMax);
  const std::size_t outputs =
      store_.sweep_outputs(now - options_.results_ttl - kUnclaimedOutputTtl, kSweepMax);
  return uploads == kSweepMax || outputs == kSweepMax;
}

}  // namespace quern
