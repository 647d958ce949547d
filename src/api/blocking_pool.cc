#include "api/blocking_pool.h"

#include <algorithm>
#include <exception>

#include "base/log.h"

namespace quern::api {

BlockingPool::BlockingPool(unsigned threads, std::size_t pending_max) : pending_max_(pending_max) {
  for (unsigned i = 0; i < std::max(threads, 1U); ++i) threads_.emplace_back([this] { loop(); });
}

bool BlockingPool::try_run(Work& work) {
  {
    const std::scoped_lock lock(mutex_);
    if (stopped_ || pending_.size() >= pending_max_) return false;
    pending_.push_back(std::move(work));
  }
  wake_.notify_one();
  return true;
}

void BlockingPool::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void BlockingPool::loop() {
  for (;;) {
    Work work;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopped_ || !pending_.empty(); });
      if (pending_.empty()) return;
      work = std::move(pending_.front());
      pending_.pop_front();
    }
    try {
      work();
    } catch (const std::exception& e) {
      log_error("blocking work failed", {{"what", e.what()}});
    }
  }
}

}  // namespace quern::api
