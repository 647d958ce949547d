#pragma once
// A LocalQueue in a folder of its own, under a clock that a test turns.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "queue/contract_fixture.h"
#include "queue/local/committer.h"
#include "queue/local/journal_fixture.h"
#include "queue/local/local_queue.h"
#include "testing/manual_clock.h"
#include "testing/temp_folder.h"

namespace quern {

class LocalHarness final : public QueueHarness {
 public:
  explicit LocalHarness(LocalQueueOptions options = {}) : options_(std::move(options)) { open(); }

  Queue& queue() override { return *queue_; }
  LocalQueue& local() { return *queue_; }
  /// In two steps, as for the queue one alone is a standstill after which it leaves timers for a while.
  void advance(std::chrono::microseconds time) override {
    const auto last = std::min<std::chrono::microseconds>(time, kStandstillGrace);
    for (const auto step : {time - last, last}) {
      clock_.advance(step);
      queue_->wake();
      settle();
    }
  }
  void reopen() override {
    queue_.reset();
    open();
  }
  ManualClock& clock() { return clock_; }
  Metrics& metrics() { return metrics_; }
  const std::filesystem::path& folder() { return folder_.path(); }
  /// Every transaction does what is due; a few in a row let one thing lead to the next.
  void settle() {
    for (int i = 0; i < 3; ++i) {
      static_cast<void>(ask<std::vector<Claim>>(
          [&](auto reply) { queue_->claim({.model = "no-such"}, std::move(reply)); }));
    }
  }

 private:
  void open() {
    options_.folder = folder_.path();
    options_.retention = kContractRetention;
    Result<std::unique_ptr<LocalQueue>> opened =
        LocalQueue::open(options_, clock_, random_, metrics_);
    if (!opened) ADD_FAILURE() << opened.error().message;
    queue_ = *std::move(opened);
    queue_->start();
  }

  LocalQueueOptions options_;
  TempFolder folder_;
  ManualClock clock_;
  SystemRandom random_;
  Metrics metrics_;
  std::unique_ptr<LocalQueue> queue_;
};

/// A queue and the few verbs that these tests need.
class LocalQueueTest : public testing::Test {
 protected:
  LocalQueueTest() { configure(harness_.queue()); }

  static void configure(Queue& queue) {
    QueuePolicy policy;
    policy.models.push_back({.id = "echo"});
    ASSERT_TRUE(ask<bool>([&](auto reply) { queue.configure(policy, std::move(reply)); }));
  }
  static Submission submission(std::string input = "{}") {
    Submission submission;
    submission.key = "ada";
    submission.model = "echo";
    submission.input = std::move(input);
    return submission;
  }
  static Result<Submitted> submit(Queue& queue, std::string input = "{}") {
    return ask<Submitted>(
        [&](auto reply) { queue.submit(submission(std::move(input)), std::move(reply)); });
  }
  static Result<TaskView> find(Queue& queue, const TaskId& id) {
    return ask<TaskView>([&](auto reply) {
      queue.find({.ref = {.id = id}, .logs = true, .result = true}, std::move(reply));
    });
  }
  static std::vector<Claim> claim(Queue& queue, std::uint32_t count = 1) {
    return ask<std::vector<Claim>>([&](auto reply) {
             queue.claim({.model = "echo", .count_max = count}, std::move(reply));
           })
        .value_or(std::vector<Claim>{});
  }
  static Result<TaskState> finish(Queue& queue, const Lease& lease, std::string text = "done") {
    Outcome outcome{.end = AttemptEnd::succeeded};
    outcome.outputs.push_back({.type = OutputType::text, .text = std::move(text)});
    return ask<TaskState>(
        [&](auto reply) { queue.finish(lease, std::move(outcome), std::move(reply)); });
  }
  static Result<TaskPage> list(Queue& queue, TaskFilter filter = {}) {
    return ask<TaskPage>([&](auto reply) { queue.list(std::move(filter), std::move(reply)); });
  }
  Queue& queue() { return harness_.queue(); }
  /// What is committed from here on stays out of the tables.
  void hold_tables() {
    gate_.install(database_in(harness_.folder()));
    gate_.close();
  }

  TableGate gate_;  // outlives the queue
  LocalHarness harness_;
};

}  // namespace quern
