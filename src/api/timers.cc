#include "api/timers.h"

#include <exception>

#include "base/log.h"
#include "base/thread_name.h"

namespace quern::api {

Timers::Timers() : thread_([this] { loop(); }) {}

Timers::Id Timers::call_at(Time when, Callback callback) {
  bool is_first = false;
  Id id;
  {
    const std::scoped_lock lock(mutex_);
    if (stopped_) return {};
    id = {when, next_number_++};
    const auto placed = due_.emplace(id, std::move(callback)).first;
    is_first = placed == due_.begin();
  }
  if (is_first) wake_.notify_one();
  return id;
}

void Timers::cancel(const Id& id) {
  Callback dropped;  // ends outside of the lock: it may own what cancels another timer
  const std::scoped_lock lock(mutex_);
  if (const auto found = due_.find(id); found != due_.end()) {
    dropped = std::move(found->second);
    due_.erase(found);
  }
}

void Timers::stop() {
  std::map<Id, Callback> dropped;
  {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
    dropped.swap(due_);
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Timers::loop() {
  name_this_thread("quern-timers");
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    if (due_.empty()) {
      wake_.wait(lock);
    } else if (const Time when = due_.begin()->first.first;
               when > std::chrono::steady_clock::now()) {
      wake_.wait_until(lock, when);
    } else {
      Callback callback = std::move(due_.begin()->second);
      due_.erase(due_.begin());
      lock.unlock();
      try {
        callback();
      } catch (const std::exception& e) {
        log_error("timer callback failed", {{"what", e.what()}});
      }
      callback = nullptr;  // what it owns may take the lock when it goes
      lock.lock();
    }
  }
}

}  // namespace quern::api
