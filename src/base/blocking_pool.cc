#include "base/blocking_pool.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "base/log.h"

namespace quern {

void BlockingPool::start(unsigned threads, const std::function<void()>& prepare) {
  {
    const std::scoped_lock lock(mutex_);
    running_ = true;
  }
  for (unsigned i = 0; i < std::max(threads, 1U); ++i) {
    threads_.emplace_back([this, prepare] {
      prepare();
      work();
    });
  }
}

bool BlockingPool::try_post(Job& job) {
  {
    const std::scoped_lock lock(mutex_);
    if (!running_ || jobs_.size() >= pending_max_) return false;
    jobs_.push_back(std::move(job));
  }
  changed_.notify_one();
  return true;
}

void BlockingPool::drop(Job job) {
  {
    const std::scoped_lock lock(mutex_);
    if (!running_) return;
    jobs_.emplace_front([job = std::move(job)] {});
  }
  changed_.notify_one();
}

void BlockingPool::stop() {
  {
    const std::scoped_lock lock(mutex_);
    running_ = false;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void BlockingPool::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return !jobs_.empty() || !running_; });
    if (jobs_.empty()) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    try {
      job();
    } catch (const std::exception& e) {
      log_error("blocking work failed", {{"what", e.what()}});
    }
    job = nullptr;  // what it holds may block to be destroyed, too
    lock.lock();
  }
}

}  // namespace quern
