#pragma once
// A few threads for what may block: reading files for answers, writing bodies to their sinks.

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace quern::http {

/// Operation: start(), post(), stop(). Jobs begin in order.
/// Concurrency: any thread.
/// Limits: one job a connection, so no more wait than there are connections.
class BlockingPool {
 public:
  using Job = std::move_only_function<void()>;

  BlockingPool() = default;
  ~BlockingPool() { stop(); }
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  void start(unsigned threads);
  /// Before start() and after stop() the job is destroyed unrun, on the caller's thread.
  void post(Job job);
  /// Runs what was posted, then ends the threads.
  void stop();

 private:
  void work();

  std::mutex mutex_;  // guards jobs_ and running_
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  bool running_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace quern::http
