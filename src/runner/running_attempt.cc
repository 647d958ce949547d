#include "runner/running_attempt.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace quern {

void RecentLogs::add(LogEntry entry) {
  bytes_ += entry.message.size();
  entries_.push_back(std::move(entry));
  while (entries_.size() > kLogEntriesMax || bytes_ > kLogBytesMax) {
    bytes_ -= entries_.front().message.size();
    entries_.pop_front();
    ++dropped_;
  }
}

void RecentLogs::move_to(Beat& beat) {
  beat.logs.reserve(entries_.size());
  std::ranges::move(entries_, std::back_inserter(beat.logs));
  entries_.clear();
  bytes_ = 0;
  beat.logs_dropped = std::exchange(dropped_, 0);
}

void RunningAttempt::announce() {
  if (!has_news_.exchange(true, std::memory_order_acq_rel) && hooks_.on_news) hooks_.on_news();
}

void RunningAttempt::progress(double fraction) {
  {
    const std::scoped_lock lock(mutex_);
    progress_ = std::clamp(fraction, 0.0, 1.0);
  }
  announce();
}

void RunningAttempt::log(LogEntry entry) {
  {
    const std::scoped_lock lock(mutex_);
    logs_.add(std::move(entry));
  }
  announce();
}

void RunningAttempt::work_ended() {
  if (!work_ended_.exchange(true) && hooks_.on_work_ended) hooks_.on_work_ended();
}

void RunningAttempt::send_news(const std::function<void(Beat)>& send) {
  const std::scoped_lock order(sending_);
  send_all(send);
}

void RunningAttempt::send_last_news(const std::function<void(Beat)>& send) {
  const std::scoped_lock order(sending_);
  if (has_news()) send_all(send);
}

void RunningAttempt::send_all(const std::function<void(Beat)>& send) {
  Beat beat;
  {
    const std::scoped_lock lock(mutex_);
    has_news_.store(false, std::memory_order_release);
    beat.progress = std::exchange(progress_, std::nullopt);
    logs_.move_to(beat);
  }
  send(std::move(beat));
}

namespace {

bool outweighs(StopReason reason, StopReason before) {
  if (before == StopReason::shutdown && reason == StopReason::timeout) return false;
  return reason > before;
}

}  // namespace

void RunningAttempt::stop(StopReason reason) {
  StopReason before = reason_.load(std::memory_order_acquire);
  while (outweighs(reason, before) && !reason_.compare_exchange_weak(before, reason)) {
  }
  stop_.request_stop();
}

}  // namespace quern
