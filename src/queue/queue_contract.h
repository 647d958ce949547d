#pragma once
// What every Queue must do, as one suite. A test program includes this in one file and names its
// implementation:
//
//   INSTANTIATE_TEST_SUITE_P(Local, QueueContract, testing::Values(QueueMaker{make_local}),
//   contract_name);
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

// ---- submit and look
// -----------------------------------------------------------------------------

TEST_P(QueueContract, AnswersASubmitWithItsPlaceInLine) {
  EXPECT_EQ(submit(submission(TaskOptions{}))->position, 0U);
  const Result<Submitted> second = submit(submission(TaskOptions{}));

  ASSERT_TRUE(second);
  EXPECT_EQ(second->position, 1U);
  EXPECT_FALSE(second->replayed);
  const TaskView view = look(second->id);
  EXPECT_EQ(view.state, TaskState::queued);
  EXPECT_EQ(view.position, 1U);
  EXPECT_EQ(view.key, "ada");
  EXPECT_EQ(view.model, "echo");
  EXPECT_EQ(view.attempts_started, 0U);
}

TEST_P(QueueContract, RefusesAModelThatIsNotServed) {
  EXPECT_EQ(code(submit(submission({.model = "no-such"}))), ErrorCode::invalid_argument);
}

TEST_P(QueueContract, DoesNotFindWhatNeverWas) {
  const TaskId id = make_task();
  TaskId other = id;
  other.low ^= 1U;  // the same place in the order of ids, but another id

  EXPECT_EQ(code(find({.ref = {.id = other}})), ErrorCode::not_found);
  EXPECT_EQ(code(cancel({.id = other})), ErrorCode::not_found);
  EXPECT_EQ(code(find({.ref = {.id = TaskId{.high = 1, .low = 2}}})), ErrorCode::not_found);
}

TEST_P(QueueContract, HidesTasksOfOtherKeysAndModels) {
  const TaskId queued = make_task();
  const TaskId ended = make_task({.model = "speech"});
  ASSERT_TRUE(finish(claim_one("speech").lease, failure(false)));

  for (const TaskId& id : {queued, ended}) {
    for (const TaskRef& ref : {TaskRef{id, "bob", ""}, TaskRef{id, "ada", "no-such"}}) {
      EXPECT_EQ(code(find({.ref = ref, .result = true})), ErrorCode::not_found);
      EXPECT_EQ(code(find({.ref = ref, .logs = true})), ErrorCode::not_found);
      EXPECT_EQ(code(cancel(ref)), ErrorCode::not_found);
      EXPECT_EQ(code(retry(ref)), ErrorCode::not_found);
      EXPECT_EQ(code(purge(ref)), ErrorCode::not_found);
    }
  }
  EXPECT_TRUE(find({.ref = {queued, "ada", "echo"}}));
  EXPECT_TRUE(find({.ref = {ended, "ada", "speech"}}));
}

// ---- claim and finish
// ----------------------------------------------------------------------------

TEST_P(QueueContract, HandsOutTheInputAsItWasSent) {
  const std::string large = R"({"prompt":")" + std::string(3'000'000, 'x') + R"("})";
  const TaskId first = make_task({.input = R"({"a":1,"b":"Grüße \u0000"})"});
  make_task({.input = large});

  const std::vector<Claim> claims = claim(5);

  ASSERT_EQ(claims.size(), 2U);
  EXPECT_EQ(claims[0].lease.task, first);
  EXPECT_EQ(claims[0].input, R"({"a":1,"b":"Grüße \u0000"})");
  EXPECT_EQ(claims[0].key, "ada");
  EXPECT_EQ(claims[0].model, "echo");
  EXPECT_EQ(claims[0].attempt, 1U);
  EXPECT_EQ(claims[1].input, large);
  EXPECT_NE(claims[0].lease.token, claims[1].lease.token);
  EXPECT_TRUE(claim().empty());
}

TEST_P(QueueContract, ServesNormalBeforeLowAndOldBeforeNew) {
  const TaskId low = make_task({.priority = Priority::low});
  const TaskId first = make_task();
  const TaskId second = make_task();

  EXPECT_EQ(claim_one().lease.task, first);
  EXPECT_EQ(claim_one().lease.task, second);
  EXPECT_EQ(claim_one().lease.task, low);
}

TEST_P(QueueContract, ServesAKeyWithOneTaskBeforeTheRestOfAKeyWithMany) {
  for (int i = 0; i < 20; ++i) make_task({.key = "ada"});
  claim_one();
  const TaskId small = make_task({.key = "bob"});

  std::vector<TaskId> next;
  for (const Claim& claimed : claim(2)) next.push_back(claimed.lease.task);

  EXPECT_THAT(next, testing::Contains(small));
}

TEST_P(QueueContract, NeverHandsOutATaskTwice) {
  constexpr int kTasks = 200;
  for (int i = 0; i < kTasks; ++i) make_task();
  std::mutex mutex;
  std::vector<TaskId> claimed;

  race(8, [&](int) {
    for (std::vector<Claim> claims = claim(3); !claims.empty(); claims = claim(3)) {
      const std::scoped_lock lock(mutex);
      for (const Claim& one : claims) claimed.push_back(one.lease.task);
    }
  });

  EXPECT_EQ(claimed.size(), kTasks);
  EXPECT_EQ(std::set<TaskId>(claimed.begin(), claimed.end()).size(), kTasks);
}

TEST_P(QueueContract, KeepsAllOfAResult) {
  const TaskId id = make_task();
  Outcome outcome{.end = AttemptEnd::succeeded, .run_time = std::chrono::microseconds{1'234'567}};
  outcome.outputs.push_back({.type = OutputType::video,
                             .file_key = "0123456789abcdef0123456789abcdef",
                             .file_name = "Ausflug \"am\" See.mp4",
                             .content_type = "video/mp4",
                             .file_bytes = 5'000'000'000,
                             .width = 1920,
                             .height = 1080,
                             .duration = 12.345,
                             .metadata_json = R"({"fps":25})"});
  outcome.outputs.push_back({.type = OutputType::text, .text = ""});
  outcome.metadata_json = R"({"seed":7})";

  EXPECT_EQ(finish(claim_one().lease, outcome), TaskState::succeeded);

  const auto check = [&] {
    const TaskView view = look(id);
    EXPECT_EQ(view.state, TaskState::succeeded);
    EXPECT_EQ(view.run_time, outcome.run_time);
    EXPECT_TRUE(view.ended);
    EXPECT_EQ(view.error_type, ErrorType::none);
    EXPECT_EQ(view.error, "");
    EXPECT_EQ(view.metadata_json, R"({"seed":7})");
    ASSERT_EQ(view.outputs.size(), 2U);
    const Output& video = view.outputs[0];
    EXPECT_EQ(video.type, OutputType::video);
    EXPECT_EQ(video.file_key, outcome.outputs[0].file_key);
    EXPECT_EQ(video.file_name, outcome.outputs[0].file_name);
    EXPECT_EQ(video.content_type, "video/mp4");
    EXPECT_EQ(video.file_bytes, 5'000'000'000U);
    EXPECT_EQ(video.width, 1920U);
    EXPECT_EQ(video.height, 1080U);
    EXPECT_EQ(video.duration, 12.345);
    EXPECT_EQ(video.metadata_json, R"({"fps":25})");
    EXPECT_FALSE(video.text);
    EXPECT_EQ(view.outputs[1].text, "");
  };
  check();
  const Result<TaskView> bare = find({.ref = {.id = id}});
  ASSERT_TRUE(bare);
  EXPECT_TRUE(bare->outputs.empty());
  reopen();
  check();
}

TEST_P(QueueContract, AStaleLeaseChangesNothing) {
  const TaskId id = make_task();
  const Lease stale = claim_one().lease;
  advance(kLease + std::chrono::seconds{1});
  advance(std::chrono::minutes{2});  // past the backoff
  const Claim second = claim_one();
  ASSERT_EQ(second.lease.task, id);

  EXPECT_EQ(second.attempt, 2U);
  EXPECT_EQ(code(heartbeat(stale, {.progress = 0.9})), ErrorCode::lease_lost);
  EXPECT_EQ(code(finish(stale, success("wrong"))), ErrorCode::lease_lost);
  EXPECT_EQ(look(id).state, TaskState::running);
  EXPECT_FALSE(look(id).progress);
  EXPECT_EQ(finish(second.lease, success("right")), TaskState::succeeded);
  EXPECT_EQ(code(finish(stale, success("wrong"))), ErrorCode::lease_lost);
  EXPECT_EQ(look(id).outputs.at(0).text, "right");
}

TEST_P(QueueContract, OnlyOneOfManyFinishesWins) {
  const TaskId id = make_task();
  const Lease lease = claim_one().lease;
  std::atomic<int> won{0};
  std::atomic<int> lost{0};

  race(8, [&](int i) {
    const Result<TaskState> result = finish(lease, success(std::to_string(i)));
    result ? ++won : ++lost;
    EXPECT_TRUE(result || result.error().code == ErrorCode::lease_lost);
  });

  EXPECT_EQ(won, 1);
  EXPECT_EQ(lost, 7);
  EXPECT_EQ(look(id).state, TaskState::succeeded);
}

TEST_P(QueueContract, LosesALeaseWithoutHeartbeatsAndTellsItsHolder) {
  const TaskId id = make_task();
  const Lease lease = claim_one().lease;
  advance(kLease - std::chrono::seconds{1});
  ASSERT_TRUE(heartbeat(lease));
  advance(kLease - std::chrono::seconds{1});
  EXPECT_EQ(look(id).state, TaskState::running);
  EXPECT_TRUE(observer_.take_stops().empty());

  advance(std::chrono::seconds{2});

  EXPECT_EQ(look(id).state, TaskState::queued);
  EXPECT_THAT(observer_.take_stops(), testing::ElementsAre(std::pair(lease, false)));
  EXPECT_EQ(look(id).attempts.at(0).result, "lost");
}

TEST_P(QueueContract, EndsATaskWhoseLastLeaseIsLost) {
  const TaskId id = make_task({.model = "speech"});
  claim_one("speech");

  advance(kLease + std::chrono::seconds{1});

  const TaskView view = look(id);
  EXPECT_EQ(view.state, TaskState::failed);
  EXPECT_NE(view.error, "");
  EXPECT_NE(view.error_type, ErrorType::none);
  ASSERT_EQ(view.attempts.size(), 1U);
  EXPECT_EQ(view.attempts[0].result, "lost");
}

TEST_P(QueueContract, RetriesARetryableFailureAfterABackoffUntilItsAttemptsAreSpent) {
  const TaskId id = make_task();
  for (std::uint32_t attempt = 1; attempt < 3; ++attempt) {
    const Claim claimed = claim_one();
    EXPECT_EQ(claimed.attempt, attempt);
    EXPECT_EQ(claimed.input, R"({"prompt":"hi"})");
    EXPECT_EQ(finish(claimed.lease, failure(true)), TaskState::queued);
    advance(std::chrono::minutes{2});
  }
  EXPECT_EQ(finish(claim_one().lease, failure(true, "for good")), TaskState::failed);

  const TaskView view = look(id);
  EXPECT_EQ(view.error, "for good");
  EXPECT_EQ(view.error_type, ErrorType::inference_failure);
  EXPECT_EQ(view.attempts_started, 3U);
  ASSERT_EQ(view.attempts.size(), 3U);
  for (std::uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(view.attempts[i].number, i + 1);
    EXPECT_EQ(view.attempts[i].result, "failed");
    EXPECT_EQ(view.attempts[i].reason, "exit 1");
    EXPECT_TRUE(view.attempts[i].ended);
  }
}

TEST_P(QueueContract, NeverRetriesWhatMayNotBeRetried) {
  make_task();
  EXPECT_EQ(finish(claim_one().lease, failure(false)), TaskState::failed);
  Submission once = submission(TaskOptions{});
  once.no_retry = true;
  ASSERT_TRUE(submit(std::move(once)));
  EXPECT_EQ(finish(claim_one().lease, failure(true)), TaskState::failed);
}

TEST_P(QueueContract, GivesAReleasedAttemptBack) {
  const TaskId id = make_task({.model = "speech"});
  EXPECT_EQ(finish(claim_one("speech").lease, {.end = AttemptEnd::released}), TaskState::queued);

  const Claim again = claim_one("speech");

  EXPECT_EQ(again.lease.task, id);
  EXPECT_EQ(again.attempt, 1U);
  EXPECT_EQ(finish(again.lease, success()), TaskState::succeeded);
  const TaskView view = look(id);
  EXPECT_EQ(view.attempts_started, 1U);
  ASSERT_EQ(view.attempts.size(), 2U);
  EXPECT_EQ(view.attempts[0].result, "released");
  EXPECT_EQ(view.attempts[1].result, "succeeded");
}

TEST_P(QueueContract, EndsATaskThatWasNotStartedInTime) {
  Submission hurried = submission(TaskOptions{});
  hurried.start_timeout = std::chrono::seconds{5};
  const TaskId id = submit(std::move(hurried))->id;

  advance(std::chrono::seconds{4});
  EXPECT_EQ(look(id).state, TaskState::queued);
  advance(std::chrono::seconds{2});

  const TaskView view = look(id);
  EXPECT_EQ(view.state, TaskState::failed);
  EXPECT_EQ(view.error_type, ErrorType::inference_timeout);
  EXPECT_EQ(view.error, "Task was not started in time");
  EXPECT_TRUE(view.start_timed_out);
  EXPECT_TRUE(claim().empty());
}

TEST_P(QueueContract, WordsFailuresThatNobodyWorded) {
  const TaskId id = make_task();
  Outcome outcome{.end = AttemptEnd::failed, .error_type = ErrorType::inference_timeout};

  ASSERT_EQ(finish(claim_one().lease, outcome), TaskState::failed);

  EXPECT_EQ(look(id).error, "Task execution timed out");
}

// ---- cancel
// --------------------------------------------------------------------------------------

TEST_P(QueueContract, CancelsAQueuedTaskAtOnce) {
  const TaskId id = make_task();

  EXPECT_EQ(cancel({id, "ada", "echo"}), CancelAnswer::requested);

  const TaskView view = look(id);
  EXPECT_EQ(view.state, TaskState::canceled);
  EXPECT_EQ(view.error_type, ErrorType::canceled);
  EXPECT_EQ(view.error, "Task canceled");
  EXPECT_TRUE(view.attempts.empty());
  EXPECT_TRUE(claim().empty());
  EXPECT_EQ(cancel({.id = id}), CancelAnswer::already_completed);
}

TEST_P(QueueContract, TellsTheRunnerOfACanceledTaskAndWaitsForIt) {
  const TaskId id = make_task();
  const Lease lease = claim_one().lease;
  EXPECT_FALSE(heartbeat(lease)->cancel_requested);

  EXPECT_EQ(cancel({.id = id}), CancelAnswer::requested);
  EXPECT_EQ(cancel({.id = id}), CancelAnswer::requested);

  EXPECT_EQ(look(id).state, TaskState::running);
  EXPECT_TRUE(look(id).cancel_requested);
  EXPECT_TRUE(heartbeat(lease)->cancel_requested);
  EXPECT_THAT(observer_.take_stops(), testing::Contains(std::pair(lease, true)));
  EXPECT_EQ(finish(lease, {.end = AttemptEnd::canceled}), TaskState::canceled);
  EXPECT_EQ(look(id).error, "Task canceled");
  EXPECT_EQ(cancel({.id = id}), CancelAnswer::already_completed);
}

TEST_P(QueueContract, LetsAResultThatWasCompleteWinAgainstACancel) {
  const TaskId id = make_task();
  const Lease lease = claim_one().lease;
  ASSERT_EQ(cancel({.id = id}), CancelAnswer::requested);

  EXPECT_EQ(finish(lease, success()), TaskState::succeeded);

  EXPECT_EQ(look(id).outputs.size(), 1U);
}

TEST_P(QueueContract, NeverRetriesACanceledTask) {
  const TaskId id = make_task();
  const Lease lease = claim_one().lease;
  ASSERT_EQ(cancel({.id = id}), CancelAnswer::requested);

  EXPECT_EQ(finish(lease, failure(true)), TaskState::canceled);

  EXPECT_EQ(look(id).error_type, ErrorType::canceled);
}

TEST_P(QueueContract, DecidesTheRaceOfCancelAndFinishOneWay) {
  for (int round = 0; round < 20; ++round) {
    const TaskId id = make_task();
    const Lease lease = claim_one().lease;
    Result<TaskState> finished;
    Result<CancelAnswer> canceled;

    race(2, [&](int i) {
      if (i == 0) finished = finish(lease, success());
      if (i == 1) canceled = cancel({.id = id});
    });

    EXPECT_EQ(finished, TaskState::succeeded);
    EXPECT_TRUE(canceled);
    EXPECT_EQ(look(id).state, TaskState::succeeded);
  }
}

TEST_P(QueueContract, DoesNotForgetACancelInACrash) {
  const TaskId id = make_task();
  claim_one();
  ASSERT_EQ(cancel({.id = id}), CancelAnswer::requested);

  reopen();

  EXPECT_EQ(look(id).state, TaskState::canceled);
}

// ---- idempotency
// ---------------------------------------------------------------------------------

TEST_P(QueueContract, AnswersAReusedIdempotencyKeyWithTheFirstTask) {
  const IdempotencyKey key = idempotency("k1");
  EXPECT_EQ(ask<std::optional<Submitted>>([&](auto reply) {
              queue().find_replay(key, std::move(reply));
            })->has_value(),
            false);
  const Result<Submitted> first = submit(idempotent(key));
  const Result<Submitted> second = submit(idempotent(key));

  ASSERT_TRUE(first && second);
  EXPECT_FALSE(first->replayed);
  EXPECT_TRUE(second->replayed);
  EXPECT_EQ(first->id, second->id);
  const Result<std::optional<Submitted>> replay = ask<std::optional<Submitted>>(
      [&](auto reply) { queue().find_replay(key, std::move(reply)); });
  ASSERT_TRUE(replay && *replay);
  EXPECT_EQ((*replay)->id, first->id);
  EXPECT_EQ(queue().stats().queued, 1U);
}

TEST_P(QueueContract, RefusesAnIdempotencyKeyForAnotherRequest) {
  ASSERT_TRUE(submit(idempotent(idempotency("k1", 1))));

  EXPECT_EQ(code(submit(idempotent(idempotency("k1", 2)))), ErrorCode::conflict);
  EXPECT_EQ(code(ask<std::optional<Submitted>>(
                [&](auto reply) { queue().find_replay(idempotency("k1", 2), std::move(reply)); })),
            ErrorCode::conflict);
  IdempotencyKey of_another = idempotency("k1", 2);
  of_another.key = "bob";
  EXPECT_FALSE(submit(idempotent(of_another))->replayed);
}

TEST_P(QueueContract, MakesOneTaskOfRacingSubmitsUnderOneIdempotencyKey) {
  constexpr int kRacers = 24;
  std::mutex mutex;
  std::set<TaskId> ids;
  std::atomic<int> originals{0};

  race(kRacers, [&](int) {
    const Result<Submitted> submitted = submit(idempotent(idempotency("race")));
    ASSERT_TRUE(submitted) << submitted.error().message;
    if (!submitted->replayed) ++originals;
    const std::scoped_lock lock(mutex);
    ids.insert(submitted->id);
  });

  EXPECT_EQ(originals, 1);
  EXPECT_EQ(ids.size(), 1U);
  EXPECT_EQ(queue().stats().queued, 1U);
}

TEST_P(QueueContract, KeepsIdempotencyKeysForADayWhateverBecomesOfTheTask) {
  const TaskId first = submit(idempotent(idempotency("k1")))->id;
  ASSERT_EQ(cancel({.id = first}), CancelAnswer::requested);
  ASSERT_TRUE(purge({.id = first}));
  advance(std::chrono::hours{23});
  reopen();

  const Result<Submitted> replay = submit(idempotent(idempotency("k1")));
  ASSERT_TRUE(replay);
  EXPECT_TRUE(replay->replayed);
  EXPECT_EQ(replay->id, first);

  advance(std::chrono::hours{2});
  const Result<Submitted> fresh = submit(idempotent(idempotency("k1", 2)));
  ASSERT_TRUE(fresh);
  EXPECT_FALSE(fresh->replayed);
  EXPECT_NE(fresh->id, first);
}

TEST_P(QueueContract, KeepsNoIdempotencyKeyOfARefusedSubmit) {
  QueuePolicy narrow = policy();
  narrow.keys[0].queued_max = 1;
  configure(narrow);
  make_task();
  EXPECT_EQ(code(submit(idempotent(idempotency("k1")))), ErrorCode::rate_limited);
  configure(policy());

  EXPECT_FALSE(submit(idempotent(idempotency("k1", 2)))->replayed);
}

// ---- limits
// --------------------------------------------------------------------------------------

TEST_P(QueueContract, RefusesMoreThanAKeyMayQueue) {
  QueuePolicy narrow = policy();
  narrow.keys[0].queued_max = 2;
  configure(narrow);
  make_task();
  make_task({.model = "speech"});

  const Result<Submitted> third = submit(submission(TaskOptions{}));

  EXPECT_EQ(code(third), ErrorCode::rate_limited);
  EXPECT_GT(third.error().retry_after.count(), 0);
  EXPECT_TRUE(submit(submission({.key = "bob"})));
  claim_one();
  EXPECT_TRUE(submit(submission(TaskOptions{})));
}

TEST_P(QueueContract, RefusesMoreThanAModelMayQueue) {
  QueuePolicy narrow = policy();
  narrow.models[0].queued_max = 1;
  configure(narrow);
  make_task();

  EXPECT_EQ(code(submit(submission({.key = "bob"}))), ErrorCode::rate_limited);
  EXPECT_TRUE(submit(submission({.model = "speech"})));
}

TEST_P(QueueContract, RefusesMoreThanTheCallerWantsToWaitFor) {
  Submission patient = submission(TaskOptions{});
  patient.model_queued_max = 1;
  ASSERT_TRUE(submit(patient));
  ASSERT_TRUE(submit(patient));

  EXPECT_EQ(code(submit(patient)), ErrorCode::rate_limited);
}

TEST_P(QueueContract, RunsNoMoreOfAKeyThanItMay) {
  QueuePolicy narrow = policy();
  narrow.keys[0].running_max = 1;
  configure(narrow);
  make_task();
  make_task();
  make_task({.key = "bob"});

  const std::vector<Claim> claims = claim(5);

  ASSERT_EQ(claims.size(), 2U);
  EXPECT_NE(claims[0].key, claims[1].key);
}

// ---- progress, logs, watching
// --------------------------------------------------------------------

TEST_P(QueueContract, ShowsProgressAndLogsAtOnceAndKeepsTheLogs) {
  const TaskId id = make_task();
  const Claim claimed = claim_one();
  Beat beat{.progress = 0.25};
  beat.logs.push_back({claimed.submitted, LogSeverity::stderr_, false, "loading"});
  ASSERT_TRUE(heartbeat(claimed.lease, beat));

  const auto runner_lines = [](const TaskView& view) {
    std::vector<std::string> lines;
    for (const LogEntry& entry : view.logs) {
      if (!entry.from_quern) lines.push_back(entry.message);
    }
    return lines;
  };
  EXPECT_EQ(look(id).progress, 0.25);
  EXPECT_THAT(runner_lines(look(id)), testing::ElementsAre("loading"));
  beat.logs[0].message = "running";
  ASSERT_TRUE(heartbeat(claimed.lease, beat));
  ASSERT_TRUE(finish(claimed.lease, success()));
  EXPECT_THAT(runner_lines(look(id)), testing::ElementsAre("loading", "running"));
  reopen();

  const TaskView view = look(id);
  EXPECT_THAT(runner_lines(view), testing::ElementsAre("loading", "running"));
  EXPECT_EQ(view.logs.front().severity == LogSeverity::stderr_ || view.logs.front().from_quern,
            true);
  EXPECT_TRUE(find({.ref = {.id = id}})->logs.empty());
}

TEST_P(QueueContract, AddsItsOwnLinesForEachAttempt) {
  const TaskId id = make_task();
  ASSERT_EQ(finish(claim_one().lease, failure(true)), TaskState::queued);
  advance(std::chrono::minutes{2});
  ASSERT_EQ(finish(claim_one().lease, success()), TaskState::succeeded);

  std::vector<std::string> lines;
  for (const LogEntry& entry : look(id).logs) {
    EXPECT_TRUE(entry.from_quern);
    lines.push_back(entry.message);
  }

  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[0], "attempt 1 started");
  EXPECT_THAT(lines[1], testing::StartsWith("attempt 1 failed: exit 1; queued again, not before "));
  EXPECT_EQ(lines[2], "attempt 2 started");
  EXPECT_EQ(lines[3], "attempt 2 succeeded");
}

TEST_P(QueueContract, KeepsTheNewestLogsAndSaysHowManyItDropped) {
  const TaskId id = make_task();
  const Claim claimed = claim_one();
  for (int i = 0; i < 12; ++i) {
    Beat beat;
    for (int j = 0; j < 100; ++j) {
      beat.logs.push_back(
          {claimed.submitted, LogSeverity::info, false, std::to_string(i * 100 + j)});
    }
    ASSERT_TRUE(heartbeat(claimed.lease, std::move(beat)));
    advance(std::chrono::seconds{2});  // some are stored before they are dropped
  }
  ASSERT_TRUE(finish(claimed.lease, success()));

  const auto check = [&] {
    std::vector<std::string> lines;
    bool told = false;
    for (const LogEntry& entry : look(id).logs) {
      if (!entry.from_quern) lines.push_back(entry.message);
      told = told || entry.message.starts_with("200 earlier lines were dropped");
    }
    ASSERT_EQ(lines.size(), kLogEntriesMax);
    EXPECT_EQ(lines.front(), "200");
    EXPECT_EQ(lines.back(), "1199");
    EXPECT_TRUE(told);
  };
  check();
  reopen();
  check();
}

TEST_P(QueueContract, CutsLongLogLinesBetweenCharacters) {
  const TaskId id = make_task();
  const Claim claimed = claim_one();
  std::string line;
  while (line.size() < 2 * kLogLineBytesMax) line += "ü";
  line.insert(0, "x");  // characters begin at odd bytes
  Beat beat;
  beat.logs.push_back({claimed.submitted, LogSeverity::info, false, line});
  ASSERT_TRUE(heartbeat(claimed.lease, std::move(beat)));

  const TaskView view = look(id);

  const auto cut = std::find_if(view.logs.begin(), view.logs.end(),
                                [](const LogEntry& entry) { return !entry.from_quern; });
  ASSERT_NE(cut, view.logs.end());
  EXPECT_LT(cut->message.size(), kLogLineBytesMax + 64);
  EXPECT_THAT(cut->message, testing::HasSubstr("ü… ["));
  EXPECT_THAT(cut->message, testing::HasSubstr("bytes cut]"));
}

TEST_P(QueueContract, KeepsLogsOfEarlierAttempts) {
  const TaskId id = make_task();
  for (const char* line : {"first", "second"}) {
    const Claim claimed = claim_one();
    Beat beat;
    beat.logs.push_back({claimed.submitted, LogSeverity::info, false, line});
    ASSERT_TRUE(heartbeat(claimed.lease, std::move(beat)));
    ASSERT_EQ(finish(claimed.lease, failure(true)), TaskState::queued);
    advance(std::chrono::minutes{2});
  }

  std::vector<std::string> lines;
  for (const LogEntry& entry : look(id).logs) {
    if (!entry.from_quern) lines.push_back(entry.message);
  }

  EXPECT_THAT(lines, testing::ElementsAre("first", "second"));
}

TEST_P(QueueContract, CallsAWatchAfterEachChangeUntilItEnds) {
  const TaskId id = make_task();
  Signal changed;
  Watch watch = queue().watch(id, [&] { changed.notify(); });
  const Lease lease = claim_one().lease;
  EXPECT_TRUE(changed.wait_for(1));
  const int before = changed.count();
  ASSERT_TRUE(heartbeat(lease, {.progress = 0.5}));
  EXPECT_TRUE(changed.wait_for(before + 1));
  watch.reset();
  const int ended = changed.count();

  ASSERT_TRUE(finish(lease, success()));
  advance(std::chrono::seconds{1});

  EXPECT_EQ(changed.count(), ended);
}

TEST_P(QueueContract, CallsAWatchWhenAPositionChanges) {
  make_task();
  const TaskId second = make_task();
  Signal changed;
  const Watch watch = queue().watch(second, [&] { changed.notify(); });

  claim_one();
  advance(std::chrono::seconds{1});

  EXPECT_TRUE(changed.wait_for(1));
  EXPECT_EQ(look(second).position, 0U);
}

TEST_P(QueueContract, TellsWhichModelsMayBeClaimed) {
  make_task({.model = "speech"});
  EXPECT_THAT(observer_.take_claimable(), testing::Contains("speech"));
  finish(claim_one("speech").lease, {.end = AttemptEnd::released}).value();
  EXPECT_THAT(observer_.take_claimable(), testing::Contains("speech"));
  make_task();
  ASSERT_EQ(finish(claim_one().lease, failure(true)), TaskState::queued);
  observer_.take_claimable();

  advance(std::chrono::minutes{2});

  EXPECT_THAT(observer_.take_claimable(), testing::Contains("echo"));
}

// ---- administration
// ------------------------------------------------------------------------------

TEST_P(QueueContract, ListsTheNewestFirstAndPages) {
  std::vector<TaskId> ids;
  for (int i = 0; i < 7; ++i) ids.push_back(make_task());
  ASSERT_EQ(finish(claim_one().lease, success()), TaskState::succeeded);
  claim_one();
  std::reverse(ids.begin(), ids.end());

  const TaskPage first = list({.count_max = 5});
  ASSERT_EQ(first.tasks.size(), 5U);
  EXPECT_TRUE(first.more);
  const TaskPage second = list({.before = first.tasks.back().id, .count_max = 5});
  EXPECT_FALSE(second.more);
  std::vector<TaskId> listed = ids_of(first);
  for (const TaskId& id : ids_of(second)) listed.push_back(id);

  EXPECT_EQ(listed, ids);
  EXPECT_EQ(second.tasks.back().state, TaskState::succeeded);
  EXPECT_EQ(second.tasks.front().state, TaskState::running);
  EXPECT_EQ(first.tasks.front().position, 4U);
}

TEST_P(QueueContract, ListsByKeyModelStateAndAge) {
  const TaskId old = make_task();
  advance(std::chrono::hours{1});
  const TaskId canceled = make_task();
  ASSERT_TRUE(cancel({.id = canceled}));
  const TaskId bobs = make_task({.key = "bob"});
  const TaskId speech = make_task({.model = "speech"});

  EXPECT_THAT(ids_of(list({.key = "bob"})), testing::ElementsAre(bobs));
  EXPECT_THAT(ids_of(list({.model = "speech"})), testing::ElementsAre(speech));
  EXPECT_THAT(ids_of(list({.states = {TaskState::canceled, TaskState::failed}})),
              testing::ElementsAre(canceled));
  EXPECT_THAT(ids_of(list({.states = {TaskState::queued}})),
              testing::ElementsAre(speech, bobs, old));
  EXPECT_THAT(ids_of(list({.age_min = std::chrono::minutes{30}})), testing::ElementsAre(old));
  EXPECT_TRUE(list({.key = "nobody"}).tasks.empty());
}

TEST_P(QueueContract, GivesARetriedTaskAFreshSetOfAttempts) {
  const TaskId id = make_task({.model = "speech"});
  ASSERT_EQ(finish(claim_one("speech").lease, failure(true)), TaskState::failed);

  EXPECT_EQ(retry({id, "ada", "speech"}), TaskState::queued);

  EXPECT_EQ(look(id).state, TaskState::queued);
  EXPECT_EQ(look(id).error, "");
  EXPECT_EQ(code(retry({.id = id})), ErrorCode::conflict);
  const Claim again = claim_one("speech");
  EXPECT_EQ(again.lease.task, id);
  EXPECT_EQ(again.attempt, 1U);
  EXPECT_EQ(again.input, R"({"prompt":"hi"})");
  EXPECT_EQ(finish(again.lease, success()), TaskState::succeeded);
  EXPECT_EQ(look(id).attempts.size(), 2U);
  EXPECT_EQ(code(retry({.id = id})), ErrorCode::conflict);
}

TEST_P(QueueContract, PurgesAnEndedTaskWithItsFiles) {
  const TaskId id = make_task();
  EXPECT_EQ(code(purge({.id = id})), ErrorCode::conflict);
  Outcome outcome = success();
  outcome.outputs.push_back({.type = OutputType::image, .file_key = "f1", .file_name = "a.png"});
  ASSERT_TRUE(finish(claim_one().lease, outcome));

  EXPECT_TRUE(purge({id, "ada", "echo"}));

  EXPECT_EQ(code(find({.ref = {.id = id}, .result = true})), ErrorCode::not_found);
  EXPECT_EQ(code(purge({.id = id})), ErrorCode::not_found);
  EXPECT_THAT(observer_.take_expired(), testing::Contains("f1"));
}

TEST_P(QueueContract, APausedModelTakesTasksAndHandsNoneOut) {
  ASSERT_TRUE(pause("echo", true));
  const TaskId id = make_task();
  EXPECT_TRUE(claim().empty());
  reopen();
  EXPECT_TRUE(claim().empty());
  EXPECT_TRUE(queue().stats().models.at(0).paused);
  observer_.take_claimable();

  ASSERT_TRUE(pause("echo", false));

  EXPECT_THAT(observer_.take_claimable(), testing::Contains("echo"));
  EXPECT_EQ(claim_one().lease.task, id);
  EXPECT_EQ(code(pause("no-such", true)), ErrorCode::not_found);
}

TEST_P(QueueContract, EndsTheTasksOfAModelThatIsNoLongerServed) {
  const TaskId queued = make_task({.model = "speech"});
  QueuePolicy without = policy();
  std::erase_if(without.models, [](const ModelPolicy& model) { return model.id == "speech"; });

  configure(without);
  advance(std::chrono::seconds{1});

  const TaskView view = look(queued);
  EXPECT_EQ(view.state, TaskState::failed);
  EXPECT_EQ(view.error_type, ErrorType::internal_server_error);
  EXPECT_EQ(view.error, "Model is no longer served");
  EXPECT_EQ(code(submit(submission({.model = "speech"}))), ErrorCode::invalid_argument);
  EXPECT_EQ(code(retry({.id = queued})), ErrorCode::conflict);
}

TEST_P(QueueContract, ForgetsEndedTasksAfterTheirRetention) {
  const TaskId ended = make_task();
  Outcome outcome = success();
  outcome.outputs.push_back({.type = OutputType::image, .file_key = "f1", .file_name = "a.png"});
  ASSERT_TRUE(finish(claim_one().lease, outcome));
  const TaskId waiting = make_task();

  advance(kContractRetention - std::chrono::minutes{5});
  EXPECT_EQ(look(ended).state, TaskState::succeeded);
  EXPECT_TRUE(observer_.take_expired().empty());
  advance(std::chrono::minutes{10});

  EXPECT_EQ(code(find({.ref = {.id = ended}, .result = true})), ErrorCode::not_found);
  EXPECT_THAT(observer_.take_expired(), testing::ElementsAre("", "f1"));
  EXPECT_EQ(look(waiting).state, TaskState::queued);
}

TEST_P(QueueContract, CountsWhatWaitsAndRuns) {
  make_task();
  advance(std::chrono::seconds{90});
  make_task();
  make_task({.model = "speech"});
  claim_one("speech");

  const QueueStats stats = queue().stats();

  EXPECT_EQ(stats.queued, 2U);
  EXPECT_EQ(stats.running, 1U);
  EXPECT_TRUE(stats.writable);
  ASSERT_EQ(stats.models.size(), 2U);
  EXPECT_EQ(stats.models[0].model, "echo");
  EXPECT_EQ(stats.models[0].queued, 2U);
  EXPECT_GE(stats.models[0].oldest_queued_age, std::chrono::seconds{90});
  EXPECT_EQ(stats.models[1].running, 1U);
}

// ---- surviving
// -----------------------------------------------------------------------------------

TEST_P(QueueContract, KeepsQueuedTasksAndTheirOrder) {
  std::vector<TaskId> ids;
  for (int i = 0; i < 10; ++i) ids.push_back(make_task({.input = std::to_string(i)}));
  const TaskId low = make_task({.priority = Priority::low});
  ids.push_back(low);

  reopen();

  EXPECT_EQ(look(ids[4]).position, 4U);
  std::vector<TaskId> claimed;
  std::vector<std::string> inputs;
  for (const Claim& one : claim(9)) {
    claimed.push_back(one.lease.task);
    inputs.push_back(one.input);
  }
  EXPECT_EQ(claimed, std::vector<TaskId>(ids.begin(), ids.begin() + 9));
  EXPECT_EQ(inputs.at(7), "7");
}

TEST_P(QueueContract, ACrashSpendsTheAttemptThatRan) {
  const TaskId retried = make_task();
  const TaskId last = make_task({.model = "speech"});
  const Lease stale = claim_one().lease;
  claim_one("speech");

  reopen();

  EXPECT_EQ(code(finish(stale, success())), ErrorCode::lease_lost);
  EXPECT_EQ(look(last).state, TaskState::failed);
  EXPECT_EQ(look(last).error_type, ErrorType::internal_server_error);
  EXPECT_EQ(look(last).attempts.at(0).result, "crashed");
  advance(std::chrono::minutes{2});
  const Claim again = claim_one();
  EXPECT_EQ(again.lease.task, retried);
  EXPECT_EQ(again.attempt, 2U);
  EXPECT_NE(again.lease.token, stale.token);
}

TEST_P(QueueContract, NeverGivesALeaseOfBeforeARestartAgain) {
  make_task();
  const Lease before = claim_one().lease;
  ASSERT_EQ(finish(before, {.end = AttemptEnd::released}), TaskState::queued);
  reopen();

  const Lease after = claim_one().lease;

  EXPECT_EQ(after.task, before.task);
  EXPECT_GT(after.token, before.token);
  EXPECT_EQ(code(finish(before, success())), ErrorCode::lease_lost);
}

}  // namespace quern
