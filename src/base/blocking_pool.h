#pragma once
// A few threads for work that must not be done where it arises: what waits on a disk, so that I/O threads never do, or
// what would hold up the thread of the queue.

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

namespace quern {

/// Operation: start(), post(), try_post() or drop(), stop(). Jobs begin in order; what one throws
/// is logged.
/// Concurrency: any thread.
/// Limits: `pending_max` jobs wait; without it, whoever posts has a limit of his own.
class BlockingPool {
 public:
  using Job = std::move_only_function<void()>;

  explicit BlockingPool(std::size_t pending_max = std::numeric_limits<std::size_t>::max())
      : pending_max_(pending_max) {}
  ~BlockingPool() { stop(); }
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  /// `threads`: at least one is started. Each calls `prepare` before its first job.
  void start(unsigned threads, const std::function<void()>& prepare = [] {});
  /// False, with `job` untouched, when too many wait, before start() and after stop().
  bool try_post(Job& job);
  /// A job that is not taken is destroyed unrun, on the caller's thread.
  void post(Job job) { static_cast<void>(try_post(job)); }
  /// Destroys `job` unrun on a thread of the pool, before what waits there and whatever the limit: what it holds may
  /// block to be destroyed. On the caller's thread before start() and after stop().
  void drop(Job job);
  /// Runs what was taken, then ends the threads. Idempotent.
  void stop();

 private:
  void work();

  const std::size_t pending_max_;
  std::mutex mutex_;  // guards jobs_ and running_
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  bool running_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace quern
