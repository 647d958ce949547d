// The store under a steady load, for an hour of simulated time: what comes in is forgotten again,
// and nothing grows.

#include <gtest/gtest.h>

#include <cstdlib>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "queue/local/committer.h"
#include "queue/local/local_queue.h"
#include "queue/local/sqlite.h"
#include "testing/manual_clock.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

constexpr std::chrono::minutes kRetention{5};
constexpr std::chrono::seconds kStep{5};
constexpr int kTasksAStep = 10;

// What an asynchronous function will answer. Many are asked before the first is waited for, so that
// they share a transaction.
template <typename T, typename Call>
std::future<Result<T>> ask(Call call) {
  auto promise = std::make_shared<std::promise<Result<T>>>();
  std::future<Result<T>> future = promise->get_future();
  call(Reply<T>([promise](Result<T> result) { promise->set_value(std::move(result)); }));
  return future;
}

template <typename T>
void expect_all_done(std::vector<std::future<Result<T>>>& answers) {
  for (auto& answer : answers) EXPECT_TRUE(answer.get());
}

// The rows of every table that tasks add to, and the size of the file.
struct Footprint {
  std::int64_t ended = 0;
  std::int64_t attempts = 0;
  std::int64_t logs = 0;
  std::int64_t inputs = 0;
  std::int64_t records = 0;  // of idempotency
  std::int64_t pages = 0;
};

class SteadyLoad : public testing::Test {
 protected:
  SteadyLoad() {
    auto opened = LocalQueue::open({.folder = folder_.path(), .retention = kRetention}, clock_,
                                   random_, metrics_);
    EXPECT_TRUE(opened);
    queue_ = *std::move(opened);
    queue_->start();
    QueuePolicy policy;
    policy.models.push_back({.id = "echo"});
    EXPECT_TRUE(ask<bool>([&](auto reply) { queue_->configure(policy, std::move(reply)); }).get());
  }

  static Submission submission() {
    Submission submission;
    submission.key = "ada";
    submission.model = "echo";
    submission.input = R"({"prompt":")" + std::string(500, 'x') + R"("})";
    return submission;
  }

  void submit_some() {
    std::vector<std::future<Result<Submitted>>> answers;
    for (int i = 0; i < kTasksAStep; ++i) {
      answers.push_back(
          ask<Submitted>([&](auto reply) { queue_->submit(submission(), std::move(reply)); }));
    }
    expect_all_done(answers);
  }

  void submit_with_idempotency_keys(int count) {
    std::vector<std::future<Result<Submitted>>> answers;
    for (int i = 0; i < count; ++i) {
      Submission once = submission();
      once.idempotency = IdempotencyKey{.key = "ada", .name = std::to_string(i)};
      answers.push_back(
          ask<Submitted>([&](auto reply) { queue_->submit(std::move(once), std::move(reply)); }));
    }
    expect_all_done(answers);
  }

  // One of each step's new tasks fails at first, and succeeds in the next step.
  void run_all() {
    const auto claims =
        ask<std::vector<Claim>>([&](auto reply) {
          queue_->claim({.model = "echo", .count_max = 2 * kTasksAStep}, std::move(reply));
        }).get();
    ASSERT_TRUE(claims);
    std::vector<std::future<Result<BeatAnswer>>> beats;
    std::vector<std::future<Result<TaskState>>> ends;
    for (const Claim& claimed : *claims) {
      Beat beat;
      beat.logs.push_back({.time = clock_.now().wall, .message = "half way"});
      beats.push_back(ask<BeatAnswer>(
          [&](auto reply) { queue_->heartbeat(claimed.lease, beat, std::move(reply)); }));
      const bool fails = &claimed == &claims->back() && claimed.attempt == 1;
      Outcome outcome{.end = fails ? AttemptEnd::failed : AttemptEnd::succeeded,
                      .retryable = fails};
      if (!fails)
        outcome.outputs.push_back({.type = OutputType::text, .text = std::string(500, 'y')});
      ends.push_back(ask<TaskState>(
          [&](auto reply) { queue_->finish(claimed.lease, outcome, std::move(reply)); }));
    }
    expect_all_done(beats);
    expect_all_done(ends);
  }

  // So much of the load as falls into `time`.
  void run_for(std::chrono::seconds time) {
    for (std::chrono::seconds passed{0}; passed < time; passed += kStep) {
      submit_some();
      run_all();
      // One step alone is a standstill, after which the queue leaves timers for a while.
      for (const auto part : {kStep - kStandstillGrace, kStandstillGrace}) {
        clock_.advance(part);
        ask<std::vector<Claim>>([&](auto reply) {
          queue_->claim({.model = "no-such"}, std::move(reply));
        }).wait();
      }
    }
  }

  Footprint footprint() {
    // A list waits for the tables.
    EXPECT_TRUE(
        ask<TaskPage>([&](auto reply) { queue_->list({.count_max = 1}, std::move(reply)); }).get());
    auto store = Connection::open(folder_.path() / "queue.sqlite", Connection::Mode::read_only);
    EXPECT_TRUE(store);
    // One moment of the store, whatever is forgotten meanwhile.
    EXPECT_TRUE(store->execute("BEGIN"));
    const auto number = [&](const char* sql) { return store->query_integer(sql).value_or(-1); };
    return {.ended = number("SELECT count(*) FROM ended"),
            .attempts = number("SELECT count(*) FROM attempt"),
            .logs = number("SELECT count(*) FROM log"),
            .inputs = number("SELECT count(*) FROM input"),
            .records = number("SELECT count(*) FROM idempotency"),
            .pages = number("PRAGMA page_count")};
  }

  TempFolder folder_;
  ManualClock clock_;
  SystemRandom random_;
  Metrics metrics_;
  std::unique_ptr<LocalQueue> queue_;
};

TEST_F(SteadyLoad, StopsGrowingOverAnHour) {
  // All that ended within the retention, and a minute's more: forgetting may come that much later.
  constexpr std::int64_t kKeptMax = kTasksAStep * (kRetention + std::chrono::minutes{1}) / kStep;
  run_for(std::chrono::minutes{10});
  const Footprint early = footprint();

  for (int tenth = 1; tenth < 6; ++tenth) {
    run_for(std::chrono::minutes{10});
    const Footprint now = footprint();

    EXPECT_GE(now.ended, kTasksAStep * (kRetention / kStep)) << "forgotten too early";
    EXPECT_LE(now.ended, kKeptMax);
    // One more may belong to a task that has not ended yet.
    const std::int64_t repeated = now.ended / kTasksAStep;
    EXPECT_LE(std::abs(now.attempts - repeated), 1);
    EXPECT_LE(std::abs(now.logs - now.ended - repeated), 2);
    EXPECT_LE(now.inputs, now.ended);
    EXPECT_LE(now.pages, early.pages + early.pages / 10) << "after " << tenth + 1 << " tenths";
  }
}

TEST_F(SteadyLoad, ForgetsIdempotencyKeysAsFastAsTheyCame) {
  constexpr int kKeys = 5'000;
  submit_with_idempotency_keys(kKeys);
  ASSERT_EQ(footprint().records, kKeys);

  clock_.advance(kIdempotencyTtl + std::chrono::minutes{1});
  submit_some();

  EXPECT_EQ(footprint().records, 0);
}

}  // namespace
}  // namespace quern
