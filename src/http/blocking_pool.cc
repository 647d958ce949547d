#include "http/blocking_pool.h"

#include <utility>

namespace quern::http {

void BlockingPool::start(unsigned threads) {
  {
    const std::scoped_lock lock(mutex_);
    running_ = true;
  }
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

void BlockingPool::post(Job job) {
  {
    const std::scoped_lock lock(mutex_);
    if (!running_) return;
    jobs_.push_back(std::move(job));
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
    job();
    job = nullptr;  // what it holds may block to be destroyed, too
    lock.lock();
  }
}

}  // namespace quern::http
