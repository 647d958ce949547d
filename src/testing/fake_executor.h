#pragma once
// An executor whose runs a test holds in its hand.

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <utility>

#include "runner/executor.h"

namespace quern {

/// Runs what the test gives it, and counts how many run at once.
/// Threads: any.
class FakeExecutor final : public Executor {
 public:
  using Script = std::function<Ending(const Run&, ProgressSink&, std::stop_token)>;

  explicit FakeExecutor(Script script) : script_(std::move(script)) {}

  Ending run(const Run& run, ProgressSink& sink, std::stop_token stop) override {
    {
      const std::scoped_lock lock(mutex_);
      ++begun_;
      most_ = std::max(most_, ++running_);
    }
    Ending ending = script_(run, sink, std::move(stop));
    const std::scoped_lock lock(mutex_);
    --running_;
    return ending;
  }
  [[nodiscard]] bool uses_files() const override { return false; }

  [[nodiscard]] int begun() const {
    const std::scoped_lock lock(mutex_);
    return begun_;
  }
  [[nodiscard]] int most_at_once() const {
    const std::scoped_lock lock(mutex_);
    return most_;
  }

  static Ending success() { return {.outcome = {.end = AttemptEnd::succeeded}}; }
  /// Blocks until the stop.
  static Ending until_stopped(const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any changed;
    std::unique_lock lock(mutex);
    changed.wait(lock, stop, [] { return false; });
    return {.stopped = true};
  }

 private:
  const Script script_;
  mutable std::mutex mutex_;  // guards all below
  int begun_ = 0;
  int running_ = 0;
  int most_ = 0;
};

/// Opens once; whoever waits goes on.
class Gate {
 public:
  void open() {
    const std::scoped_lock lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_; });
  }

 private:
  std::mutex mutex_;  // guards open_
  std::condition_variable changed_;
  bool open_ = false;
};

}  // namespace quern
