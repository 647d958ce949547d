#include "runner/worker_pool.h"

#include <system_error>
#include <utility>

#include "base/log.h"
#include "base/thread_name.h"

namespace quern {

WorkerPool::WorkerPool() {
  threads_.emplace_back([this] { work(); });
}

WorkerPool::~WorkerPool() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::run(Job job) {
  std::unique_lock lock(mutex_);
  jobs_.push_back(std::move(job));
  if (idle_ >= jobs_.size()) {
    lock.unlock();  // else who wakes has to wait for it
    changed_.notify_one();
    return;
  }
  try {
    threads_.emplace_back([this] { work(); });
  } catch (const std::system_error& error) {
    log_error("no thread for an attempt; it waits for another to end", {{"reason", error.what()}});
  }
}

void WorkerPool::work() {
  name_this_thread("quern-run");
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    changed_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
    --idle_;
    if (jobs_.empty()) return;
    {
      Job job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
    }
    lock.lock();
  }
}

}  // namespace quern
