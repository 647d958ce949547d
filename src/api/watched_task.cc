#include "api/watched_task.h"

#include <algorithm>

#include "api/call.h"

namespace quern::api {

WatchedTask::WatchedTask(Context& context, TaskQuery query, WatchFor what)
    : context_(context), query_(std::move(query)), what_(what) {}

bool WatchedTask::begin() {
  if (!context_.live.add(shared_from_this(), context_.options.waits_max)) return false;
  if (context_.snapshots.load()->keys->find(key()) == nullptr) {
    context_.live.remove(this);  // finish() may have come before
    return false;
  }
  Watch watch = context_.deps.queue.watch(query_.ref.id, what_, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->on_change();
  });
  bool finished = false;
  {
    const std::scoped_lock lock(mutex_);
    finished = finished_;
    if (!finished) watch_.swap(watch);
  }
  if (finished) {  // the caller left before it began
    context_.live.remove(this);
    return true;
  }
  look_now();  // whatever changed between the first look and the watch
  return true;
}

// On the queue's own thread, which has better to do than to look and write: the timers' thread goes
// on.
void WatchedTask::on_change() {
  Time due;
  {
    const std::scoped_lock lock(mutex_);
    due = last_look_ + kLookEvery;
  }
  look_at(std::max(due, std::chrono::steady_clock::now()));
}

void WatchedTask::look_now() {
  if (begin_look(false)) look();
}

void WatchedTask::look_last() {
  if (begin_look(true)) look();
}

// The look under way may have begun before this was asked for.
bool WatchedTask::is_last() {
  const std::scoped_lock lock(mutex_);
  return last_ && !look_again_;
}

bool WatchedTask::begin_look(bool last) {
  const std::scoped_lock lock(mutex_);
  if (finished_) return false;
  last_ = last_ || last;
  if (looking_) {
    look_again_ = true;
    return false;
  }
  looking_ = true;
  last_look_ = std::chrono::steady_clock::now();
  return true;
}

void WatchedTask::look() {
  context_.deps.queue.find(query_, [self = shared_from_this()](Result<TaskView> view) {
    guard([&] { self->on_view(std::move(view)); });
    self->on_look_over();
  });
}

void WatchedTask::on_look_over() {
  {
    const std::scoped_lock lock(mutex_);
    looking_ = false;
    if (!look_again_ || finished_) return;
    look_again_ = false;
  }
  look_now();
}

void WatchedTask::look_at(Time when) {
  const std::scoped_lock lock(mutex_);
  if (finished_) return;
  if (next_look_.second != 0) {
    if (next_look_.first <= when) return;
    context_.timers.cancel(next_look_);
  }
  next_look_ = context_.timers.call_at(when, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    {
      const std::scoped_lock inner(self->mutex_);
      self->next_look_ = {};
    }
    self->look_now();
  });
}

void WatchedTask::finish() {
  Watch watch;  // ends outside of the lock
  {
    const std::scoped_lock lock(mutex_);
    if (finished_) return;
    finished_ = true;
    watch_.swap(watch);
    if (next_look_.second != 0) context_.timers.cancel(next_look_);
    next_look_ = {};
  }
  context_.live.remove(this);
}

}  // namespace quern::api
