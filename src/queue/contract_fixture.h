#pragma once
// What the parts of the contract share: a queue under test, an observer that remembers, and short
// forms of every call.
//
// Time is the harness's: no test sleeps.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <latch>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "queue/queue.h"

namespace quern {

/// One queue with its own store and its own time.
class QueueHarness {
 public:
  virtual ~QueueHarness() = default;
  virtual Queue& queue() = 0;
  /// Time passes; on return the queue has done what became due.
  virtual void advance(std::chrono::microseconds time) = 0;
  /// The process goes and another one takes over the store; the new queue is not configured yet.
  virtual void reopen() = 0;
};

struct QueueMaker {
  /// Ended tasks are kept for 48 h, longer than idempotency records.
  std::function<std::unique_ptr<QueueHarness>()> make;
};

inline constexpr std::chrono::hours kContractRetention{48};

/// Writes down what it is told.
class RecordingObserver final : public QueueObserver {
 public:
  void on_claimable(const std::string& model) override {
    const std::scoped_lock lock(mutex_);
    claimable_.push_back(model);
  }
  void on_stop(const Lease& lease, bool canceled) override {
    const std::scoped_lock lock(mutex_);
    stops_.emplace_back(lease, canceled);
  }
  void on_expired(std::span<const Output> outputs) override {
    const std::scoped_lock lock(mutex_);
    for (const Output& output : outputs) expired_.push_back(output.file_key);
  }
  std::vector<std::string> take_claimable() { return take(claimable_); }
  std::vector<std::pair<Lease, bool>> take_stops() { return take(stops_); }
  std::vector<std::string> take_expired() { return take(expired_); }

 private:
  template <typename T>
  T take(T& what) {
    const std::scoped_lock lock(mutex_);
    return std::exchange(what, T{});
  }

  std::mutex mutex_;  // guards what follows
  std::vector<std::string> claimable_;
  std::vector<std::pair<Lease, bool>> stops_;
  std::vector<std::string> expired_;
};

/// Counts calls, and lets a test wait for one.
class Signal {
 public:
  void notify() {
    const std::scoped_lock lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  /// False if `count` calls have not come in a long time.
  bool wait_for(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds{20}, [&] { return count_ >= count; });
  }
  int count() {
    const std::scoped_lock lock(mutex_);
    return count_;
  }

 private:
  std::mutex mutex_;  // guards count_
  std::condition_variable changed_;
  int count_ = 0;
};

/// Calls an asynchronous function and waits for its reply.
template <typename T, typename Call>
Result<T> ask(Call call) {
  auto promise = std::make_shared<std::promise<Result<T>>>();
  std::future<Result<T>> future = promise->get_future();
  call(Reply<T>([promise](Result<T> result) { promise->set_value(std::move(result)); }));
  if (future.wait_for(std::chrono::seconds{60}) != std::future_status::ready) {
    ADD_FAILURE() << "no reply came";
    return fail(ErrorCode::internal, "no reply came");
  }
  return future.get();
}

class QueueContract : public testing::TestWithParam<QueueMaker> {
 protected:
  static constexpr std::chrono::milliseconds kLease{30'000};

  struct TaskOptions {
    std::string key = "ada";
    std::string model = "echo";
    std::string input = R"({"prompt":"hi"})";
    Priority priority = Priority::normal;
  };

  QueueContract() : harness_(GetParam().make()) {
    queue().observe(&observer_);
    configure(policy());
  }
  ~QueueContract() override { queue().observe(nullptr); }

  static QueuePolicy policy() {
    QueuePolicy policy;
    policy.models.push_back({.id = "echo", .attempts_max = 3});
    policy.models.push_back({.id = "speech", .attempts_max = 1});
    policy.keys.push_back({.id = "ada"});
    policy.keys.push_back({.id = "bob"});
    return policy;
  }

  Queue& queue() { return harness_->queue(); }
  void advance(std::chrono::microseconds time) { harness_->advance(time); }
  void configure(QueuePolicy policy) {
    ASSERT_TRUE(
        ask<bool>([&](auto reply) { queue().configure(std::move(policy), std::move(reply)); }));
  }
  void reopen() {
    queue().observe(nullptr);
    harness_->reopen();
    queue().observe(&observer_);
    configure(policy());
  }

  static Submission submission(const TaskOptions& options) {
    Submission submission;
    submission.key = options.key;
    submission.model = options.model;
    submission.input = options.input;
    submission.priority = options.priority;
    return submission;
  }
  Result<Submitted> submit(Submission submission) {
    return ask<Submitted>(
        [&](auto reply) { queue().submit(std::move(submission), std::move(reply)); });
  }
  TaskId make_task(const TaskOptions& options) {
    const Result<Submitted> submitted = submit(submission(options));
    EXPECT_TRUE(submitted) << submitted.error().message;
    return submitted ? submitted->id : TaskId{};
  }
  TaskId make_task() { return make_task(TaskOptions{}); }
  static IdempotencyKey idempotency(std::string name, std::uint8_t fingerprint = 1) {
    IdempotencyKey key{.key = "ada", .name = std::move(name)};
    key.fingerprint.fill(fingerprint);
    return key;
  }
  static Submission idempotent(const IdempotencyKey& key) {
    Submission made = submission(TaskOptions{});
    made.key = key.key;
    made.idempotency = key;
    return made;
  }

  std::vector<Claim> claim(std::uint32_t count = 1, const std::string& model = "echo") {
    Result<std::vector<Claim>> claims = ask<std::vector<Claim>>([&](auto reply) {
      queue().claim({.model = model, .count_max = count, .lease_ttl = kLease}, std::move(reply));
    });
    EXPECT_TRUE(claims) << claims.error().message;
    return claims ? *std::move(claims) : std::vector<Claim>{};
  }
  Claim claim_one(const std::string& model = "echo") {
    std::vector<Claim> claims = claim(1, model);
    EXPECT_EQ(claims.size(), 1U);
    return claims.empty() ? Claim{} : std::move(claims.front());
  }
  Result<BeatAnswer> heartbeat(const Lease& lease, Beat beat = {}) {
    return ask<BeatAnswer>(
        [&](auto reply) { queue().heartbeat(lease, std::move(beat), std::move(reply)); });
  }
  Result<TaskState> finish(const Lease& lease, Outcome outcome) {
    return ask<TaskState>(
        [&](auto reply) { queue().finish(lease, std::move(outcome), std::move(reply)); });
  }
  static Outcome success(std::string text = "done") {
    Outcome outcome{.end = AttemptEnd::succeeded, .run_time = std::chrono::milliseconds{1'500}};
    outcome.outputs.push_back({.type = OutputType::text, .text = std::move(text)});
    return outcome;
  }
  static Outcome failure(bool retryable, std::string error = "it broke") {
    return {.end = AttemptEnd::failed,
            .error_type = ErrorType::inference_failure,
            .error = std::move(error),
            .retryable = retryable,
            .reason = "exit 1"};
  }
  Result<CancelAnswer> cancel(const TaskRef& ref) {
    return ask<CancelAnswer>([&](auto reply) { queue().cancel(ref, std::move(reply)); });
  }
  Result<TaskView> find(const TaskQuery& query) {
    return ask<TaskView>([&](auto reply) { queue().find(query, std::move(reply)); });
  }
  /// Everything about a task that must be there.
  TaskView look(const TaskId& id) {
    Result<TaskView> view =
        find({.ref = {.id = id}, .logs = true, .attempts = true, .result = true});
    EXPECT_TRUE(view) << view.error().message;
    return view ? *std::move(view) : TaskView{};
  }
  TaskPage list(const TaskFilter& filter) {
    Result<TaskPage> page =
        ask<TaskPage>([&](auto reply) { queue().list(filter, std::move(reply)); });
    EXPECT_TRUE(page) << page.error().message;
    return page ? *std::move(page) : TaskPage{};
  }
  Result<TaskState> retry(const TaskRef& ref) {
    return ask<TaskState>([&](auto reply) { queue().retry(ref, std::move(reply)); });
  }
  Result<bool> purge(const TaskRef& ref) {
    return ask<bool>([&](auto reply) { queue().purge(ref, std::move(reply)); });
  }
  Result<bool> pause(const std::string& model, bool paused) {
    return ask<bool>([&](auto reply) { queue().pause(model, paused, std::move(reply)); });
  }
  static ErrorCode code(const auto& result) {
    EXPECT_FALSE(result) << "a success where an error was expected";
    return result ? ErrorCode::internal : result.error().code;
  }
  static std::vector<TaskId> ids_of(const TaskPage& page) {
    std::vector<TaskId> ids;
    for (const TaskView& task : page.tasks) ids.push_back(task.id);
    return ids;
  }
  /// Runs `body` in so many threads that begin together.
  static void race(int threads, const std::function<void(int)>& body) {
    std::latch start(threads);
    std::vector<std::jthread> running;
    for (int i = 0; i < threads; ++i) {
      running.emplace_back([&, i] {
        start.arrive_and_wait();
        body(i);
      });
    }
  }

  RecordingObserver observer_;
  std::unique_ptr<QueueHarness> harness_;
};

}  // namespace quern
