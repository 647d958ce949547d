#pragma once
// The contract of the queue: claims, leases, ends, cancels, and what a crash leaves of them.

#include "queue/contract_fixture.h"

namespace quern {

// ---- claim and finish

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

TEST_P(QueueContract, CountsAReleasedAttemptThatATaskEndsWith) {
  const TaskId id = make_task();
  const Lease lease = claim_one().lease;
  ASSERT_EQ(cancel({.id = id}), CancelAnswer::requested);

  EXPECT_EQ(finish(lease, {.end = AttemptEnd::released}), TaskState::canceled);

  const TaskView view = look(id);
  EXPECT_EQ(view.attempts_started, 1U);
  ASSERT_EQ(view.attempts.size(), 1U);
  EXPECT_EQ(view.attempts[0].number, 1U);
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

TEST_P(QueueContract, HoldsATaskToItsStartDeadlineUntilSomethingHasRun) {
  const auto hurried = [&] {
    Submission submission = this->submission({.model = "speech"});
    submission.start_timeout = std::chrono::seconds{5};
    return submit(std::move(submission))->id;
  };
  const TaskId late = hurried();
  advance(std::chrono::seconds{1});
  EXPECT_EQ(finish(claim_one("speech").lease, {.end = AttemptEnd::unstarted}), TaskState::queued);
  EXPECT_EQ(look(late).state, TaskState::queued);
  EXPECT_EQ(look(late).attempts_started, 0U);
  reopen();
  advance(std::chrono::seconds{5});
  EXPECT_EQ(look(late).state, TaskState::failed);
  EXPECT_TRUE(look(late).start_timed_out);

  const TaskId begun = hurried();
  EXPECT_EQ(finish(claim_one("speech").lease, {.end = AttemptEnd::released}), TaskState::queued);
  advance(std::chrono::seconds{6});
  EXPECT_EQ(claim_one("speech").lease.task, begun);
}

TEST_P(QueueContract, WordsFailuresThatNobodyWorded) {
  const TaskId id = make_task();
  Outcome outcome{.end = AttemptEnd::failed, .error_type = ErrorType::inference_timeout};

  ASSERT_EQ(finish(claim_one().lease, outcome), TaskState::failed);

  EXPECT_EQ(look(id).error, "Task execution timed out");
}

// ---- cancel

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

// ---- surviving

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
