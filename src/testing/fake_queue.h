#pragma once
// The runner's side of a queue, in memory and without rules: a test adds tasks, and sees what
// became of them.

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "queue/queue.h"

namespace quern {

/// Answers in order, on a thread of its own as the embedded queue does, or on the calling thread
/// before the call returns. Only claim, heartbeat, finish and observe do anything. Threads: any.
class FakeQueue final : public Queue {
 public:
  enum class Answers : std::uint8_t { later, at_once };

  struct Record {
    std::string model;
    std::string input;
    std::optional<Lease> lease;  // while it runs
    std::uint32_t attempts = 0;
    bool cancel_requested = false;
    std::vector<Outcome> outcomes;  // of accepted finishes, in order
    std::vector<LogEntry> logs;
    std::uint64_t logs_dropped = 0;
    std::vector<double> progress;
  };

  explicit FakeQueue(Answers answers = Answers::later) {
    if (answers == Answers::later) thread_ = std::thread([this] { answer_loop(); });
  }
  ~FakeQueue() override {
    {
      const std::scoped_lock lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  // -- the test's side

  TaskId add(const std::string& model, std::string input = "{}") {
    TaskId id;
    {
      const std::scoped_lock lock(mutex_);
      id = {.high = 1, .low = ++tasks_made_};
      records_[id] = {.model = model, .input = std::move(input)};
      waiting_[model].push_back(id);
    }
    answer([this, model] {
      if (QueueObserver* observer = observer_) observer->on_claimable(model);
    });
    return id;
  }
  void cancel(const TaskId& id) { tell_stop(id, true); }
  /// Takes the lease away, as if it had run out.
  void lose(const TaskId& id) { tell_stop(id, false); }
  /// Marks the task, but tells only whoever sends a heartbeat.
  void cancel_silently(const TaskId& id) {
    const std::scoped_lock lock(mutex_);
    records_[id].cancel_requested = true;
  }
  /// Takes the lease away, and tells nobody.
  void lose_silently(const TaskId& id) {
    const std::scoped_lock lock(mutex_);
    records_[id].lease.reset();
  }
  /// Returns when all that was asked and told before is answered and heard.
  void flush() {
    std::promise<void> heard;
    answer([&heard] { heard.set_value(); });
    heard.get_future().wait();
  }
  void fail_claims(int count) {
    const std::scoped_lock lock(mutex_);
    claims_to_fail_ = count;
  }
  void fail_finishes(int count) {
    const std::scoped_lock lock(mutex_);
    finishes_to_fail_ = count;
  }
  /// What is claimed from now on is of a key with a limit of running tasks.
  void limit_key() {
    const std::scoped_lock lock(mutex_);
    key_is_limited_ = true;
  }
  /// Called by whoever sends a heartbeat, before it is heard. Set before anything runs.
  void before_heartbeat(std::function<void()> call) { before_heartbeat_ = std::move(call); }
  /// Until a finish is asked for; false if none is within `time`.
  bool wait_for_finish(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, time, [this] { return finishes_ > 0; });
  }

  [[nodiscard]] Record record(const TaskId& id) const {
    const std::scoped_lock lock(mutex_);
    return records_.at(id);
  }
  [[nodiscard]] int claims() const {
    const std::scoped_lock lock(mutex_);
    return claims_;
  }
  /// Until `condition` holds of the record; a minute at most, false then.
  bool wait_for(const TaskId& id, const std::function<bool(const Record&)>& condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::minutes(1),
                             [&] { return condition(records_.at(id)); });
  }
  /// The outcome of the first attempt.
  std::optional<Outcome> wait_for_end(const TaskId& id) {
    if (!wait_for(id, [](const Record& record) { return !record.outcomes.empty(); })) return {};
    return record(id).outcomes.front();
  }

  // -- the runner's side

  void claim(ClaimRequest request, Reply<std::vector<Claim>> reply) override {
    answer([this, request = std::move(request), reply = std::move(reply)]() mutable {
      reply(do_claim(request));
    });
  }
  void heartbeat(const Lease& lease, Beat beat, Reply<BeatAnswer> reply) override {
    if (before_heartbeat_) before_heartbeat_();
    answer([this, lease, beat = std::move(beat), reply = std::move(reply)]() mutable {
      reply(do_heartbeat(lease, std::move(beat)));
    });
  }
  void finish(const Lease& lease, Outcome outcome, Reply<TaskState> reply) override {
    {
      const std::scoped_lock lock(mutex_);
      ++finishes_;
      changed_.notify_all();
    }
    answer([this, lease, outcome = std::move(outcome), reply = std::move(reply)]() mutable {
      reply(do_finish(lease, std::move(outcome)));
    });
  }
  void observe(QueueObserver* observer) override { observer_ = observer; }

  // -- nobody's side here
  void submit(Submission, Reply<Submitted>) override { unused(); }
  void find_replay(const IdempotencyKey&, Reply<std::optional<Submitted>>) override { unused(); }
  void cancel(const TaskRef&, Reply<CancelAnswer>) override { unused(); }
  void find(const TaskQuery&, Reply<TaskView>) override { unused(); }
  Watch watch(const TaskId&, WatchFor, std::function<void()>) override { unused(); }
  void list(const TaskFilter&, Reply<TaskPage>) override { unused(); }
  void retry(const TaskRef&, Reply<TaskState>) override { unused(); }
  void purge(const TaskRef&, Reply<bool>) override { unused(); }
  void pause(const std::string&, bool, Reply<bool>) override { unused(); }
  void configure(QueuePolicy, Reply<bool>) override { unused(); }
  QueueStats stats() override { unused(); }

 private:
  using Command = std::move_only_function<void()>;

  [[noreturn]] static void unused() {
    assertion_failed("this part of the fake is unused", __FILE__, __LINE__);
  }

  void answer(Command command) {
    if (!thread_.joinable()) return command();
    const std::scoped_lock lock(mutex_);
    commands_.push_back(std::move(command));
    changed_.notify_all();
  }

  void answer_loop() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return ending_ || !commands_.empty(); });
      if (commands_.empty()) return;
      Command command = std::move(commands_.front());
      commands_.pop_front();
      lock.unlock();
      command();
      lock.lock();
    }
  }

  Result<std::vector<Claim>> do_claim(const ClaimRequest& request) {
    const std::scoped_lock lock(mutex_);
    ++claims_;
    if (claims_to_fail_ > 0 && claims_to_fail_-- > 0)
      return fail(ErrorCode::unavailable, "disk full");
    std::vector<Claim> claims;
    auto& waiting = waiting_[request.model];
    for (; !waiting.empty() && claims.size() < request.count_max; waiting.pop_front()) {
      Record& record = records_[waiting.front()];
      record.lease = Lease{.task = waiting.front(), .token = ++tokens_made_};
      claims.push_back({.lease = *record.lease,
                        .key = "k",
                        .model = request.model,
                        .attempt = ++record.attempts,
                        .submitted = {},
                        .input = record.input,
                        .key_is_limited = key_is_limited_});
    }
    changed_.notify_all();
    return claims;
  }

  Result<BeatAnswer> do_heartbeat(const Lease& lease, Beat beat) {
    const std::scoped_lock lock(mutex_);
    Record& record = records_[lease.task];
    if (record.lease != lease) return fail(ErrorCode::lease_lost, "lease lost");
    if (beat.progress) record.progress.push_back(*beat.progress);
    std::ranges::move(beat.logs, std::back_inserter(record.logs));
    record.logs_dropped += beat.logs_dropped;
    changed_.notify_all();
    return BeatAnswer{.cancel_requested = record.cancel_requested};
  }

  Result<TaskState> do_finish(const Lease& lease, Outcome outcome) {
    const std::scoped_lock lock(mutex_);
    Record& record = records_[lease.task];
    if (record.lease != lease) return fail(ErrorCode::lease_lost, "lease lost");
    if (finishes_to_fail_ > 0 && finishes_to_fail_-- > 0) {
      return fail(ErrorCode::unavailable, "disk full");
    }
    const bool released =
        outcome.end == AttemptEnd::released || outcome.end == AttemptEnd::unstarted;
    record.outcomes.push_back(std::move(outcome));
    record.lease.reset();
    if (released) waiting_[record.model].push_front(lease.task);
    changed_.notify_all();
    return released ? TaskState::queued : TaskState::succeeded;
  }

  void tell_stop(const TaskId& id, bool canceled) {
    std::optional<Lease> lease;
    {
      const std::scoped_lock lock(mutex_);
      Record& record = records_[id];
      record.cancel_requested = record.cancel_requested || canceled;
      lease = record.lease;
      if (!canceled) record.lease.reset();
    }
    if (!lease) return;
    answer([this, lease = *lease, canceled] {
      if (QueueObserver* observer = observer_) observer->on_stop(lease, canceled);
    });
  }

  mutable std::mutex mutex_;  // guards all below but observer_ and before_heartbeat_
  std::condition_variable changed_;
  std::map<TaskId, Record> records_;
  std::map<std::string, std::deque<TaskId>> waiting_;
  std::deque<Command> commands_;
  std::uint64_t tasks_made_ = 0;
  std::uint64_t tokens_made_ = 0;
  int claims_ = 0;
  int claims_to_fail_ = 0;
  int finishes_ = 0;
  int finishes_to_fail_ = 0;
  bool key_is_limited_ = false;
  bool ending_ = false;
  std::atomic<QueueObserver*> observer_ = nullptr;
  std::function<void()> before_heartbeat_;
  std::thread thread_;
};

}  // namespace quern
