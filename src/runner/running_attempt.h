#pragma once
// One attempt while it runs: what it has to report, and why it must stop.

#include <atomic>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>

#include "base/clock.h"
#include "catalog/model.h"
#include "queue/queue.h"
#include "runner/executor.h"

namespace quern {

/// The newest log entries, in bounded memory. Dropped ones are counted. Threads: one at a time.
class RecentLogs {
 public:
  void add(LogEntry entry);
  /// What came since the last call, into a beat that has no logs.
  void move_to(Beat& beat);
  [[nodiscard]] bool empty() const { return entries_.empty(); }

 private:
  std::deque<LogEntry> entries_;
  std::size_t bytes_ = 0;
  std::uint64_t dropped_ = 0;  // since the last move_to()
};

/// One further on outweighs those before it: a canceled task is canceled though its time ran out
/// too. Of a shutdown and a timeout the first holds: time that runs out while a program ends for the
/// server is no fault of the task.
enum class StopReason : std::uint8_t { none, shutdown, timeout, canceled, lost };

/// Threads: any.
class RunningAttempt final : public ProgressSink {
 public:
  struct Hooks {
    std::function<void()> on_news;        // there is something to report, after there was nothing
    std::function<void()> on_work_ended;  // at most once
  };

  RunningAttempt(Claim claim, std::shared_ptr<const Model> model, Now started)
      : claim_(std::move(claim)), model_(std::move(model)), started_(started) {}
  void set_hooks(Hooks hooks) { hooks_ = std::move(hooks); }  // before it starts

  void progress(double fraction) override;
  void log(LogEntry entry) override;
  void work_ended() override;

  /// Hands everything that is new to `send`, one caller at a time, so that news arrive in order.
  void send_news(const std::function<void(Beat)>& send);
  /// Returns when all that was said before has been handed over, also by a send under way. Calls
  /// `send` only if there is something left.
  void send_last_news(const std::function<void(Beat)>& send);
  [[nodiscard]] bool has_news() const { return has_news_.load(std::memory_order_acquire); }

  void stop(StopReason reason);
  [[nodiscard]] StopReason stop_reason() const { return reason_.load(std::memory_order_acquire); }
  [[nodiscard]] std::stop_token stop_token() const { return stop_.get_token(); }

  [[nodiscard]] const Claim& claim() const { return claim_; }
  [[nodiscard]] const Lease& lease() const { return claim_.lease; }
  [[nodiscard]] const Model& model() const { return *model_; }
  [[nodiscard]] Now started() const { return started_; }
  [[nodiscard]] SteadyTime deadline() const { return started_.steady + model_->timeout; }

 private:
  void announce();
  void send_all(const std::function<void(Beat)>& send);  // with sending_

  const Claim claim_;
  const std::shared_ptr<const Model> model_;
  const Now started_;
  Hooks hooks_;
  std::stop_source stop_;
  std::atomic<StopReason> reason_{StopReason::none};
  std::atomic<bool> has_news_{false};
  std::atomic<bool> work_ended_{false};
  std::mutex sending_;  // held while news are handed over; taken before mutex_
  std::mutex mutex_;    // guards progress_ and logs_
  std::optional<double> progress_;
  RecentLogs logs_;
};

}  // namespace quern
