#pragma once
// A few threads for what may wait on a disk, so that I/O threads never do.

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace quern::api {

/// Threads: any. stop() is idempotent and runs what was accepted.
class BlockingPool {
 public:
  using Work = std::move_only_function<void()>;

  BlockingPool(unsigned threads, std::size_t pending_max);
  ~BlockingPool() { stop(); }
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  /// False, with `work` untouched, when pending_max pieces wait already or the pool has stopped.
  bool try_run(Work& work);
  void stop();

 private:
  void loop();

  const std::size_t pending_max_;
  std::mutex mutex_;  // guards pending_ and stopped_
  std::condition_variable wake_;
  std::deque<Work> pending_;
  bool stopped_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace quern::api
