#include "runner/running_attempt.h"

#include <fmt/format.h>

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

std::vector<LogEntry> RecentLogs::take() {
  std::vector<LogEntry> taken;
  taken.reserve(entries_.size() + 1);
  if (dropped_ > 0) {
    const WallTime time = entries_.empty() ? WallTime{} : entries_.front().time;
    taken.push_back(
        {.time = time,
         .severity = LogSeverity::warn,
         .from_quern = true,
         .message = fmt::format("{} log lines were dropped here: too many at once", dropped_)});
  }
  std::ranges::move(entries_, std::back_inserter(taken));
  entries_.clear();
  bytes_ = 0;
  dropped_ = 0;
  return taken;
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
  Beat beat;
  {
    const std::scoped_lock lock(mutex_);
    has_news_.store(false, std::memory_order_release);
    beat.progress = std::exchange(progress_, std::nullopt);
    beat.logs = logs_.take();
  }
  send(std::move(beat));
}

void RunningAttempt::stop(StopReason reason) {
  StopReason before = reason_.load(std::memory_order_acquire);
  while (before < reason && !reason_.compare_exchange_weak(before, reason)) {
  }
  stop_.request_stop();
}

}  // namespace quern
