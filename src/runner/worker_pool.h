#pragma once
// Threads that are kept for the next job: starting work costs a wake-up, not a new thread.

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace quern {

/// Limits: as many threads as there were jobs at once; the caller bounds them.
/// Threads: any.
class WorkerPool {
 public:
  using Job = std::move_only_function<void()>;

  /// With one thread, so that every job begins sooner or later.
  WorkerPool();
  /// Waits for all jobs, also those that have not begun.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// Never blocks. The job begins at once, but for a machine that has no thread left to give.
  void run(Job job);

 private:
  void work();

  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool ending_ = false;
};

}  // namespace quern
