#include <vector>

#include "queue/core_fixture.h"

namespace quern {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using enum TaskState;

// ---- leases ------------------------------------------------------------------------------------

TEST_F(QueueCoreTest, GivesATaskToOneRunnerOnly) {
  const TaskId id = committed();

  EXPECT_EQ(claimed_ids(1), std::vector{id});
  EXPECT_TRUE(claim().empty());
  core_->commit();
  EXPECT_TRUE(claim().empty());
}

TEST_F(QueueCoreTest, IgnoresAStaleLease) {
  const Lease stale = start_one();
  clock_.advance(kTtl);
  tick();
  EXPECT_EQ(core_->lost().size(), 1U);
  core_->commit();
  const Lease current = claim().at(0).lease;
  core_->commit();

  EXPECT_EQ(finish(stale, kSucceeded).error().code, ErrorCode::lease_lost);
  EXPECT_EQ(core_->heartbeat(stale, {}, clock_.now()).error().code, ErrorCode::lease_lost);
  EXPECT_TRUE(core_->changes().empty());
  EXPECT_EQ(*finish(current, kSucceeded), succeeded);
  EXPECT_EQ(finish(current, kSucceeded).error().code, ErrorCode::lease_lost);
}

TEST_F(QueueCoreTest, TakesAResultUntilTheLeaseIsReallyLost) {
  const Lease lease = start_one();
  clock_.advance(hours{1});  // over, but nobody has noticed

  EXPECT_EQ(*finish(lease, kSucceeded), succeeded);
}

TEST_F(QueueCoreTest, RenewsALeaseToItsFullTime) {
  const Lease lease = start_one();
  for (int i = 0; i < 10; ++i) {
    clock_.advance(kTtl - milliseconds{1});
    tick();
    ASSERT_TRUE(core_->heartbeat(lease, {}, clock_.now()));
    core_->commit();
  }

  EXPECT_EQ(state_of(lease.task), running);
  EXPECT_EQ(core_->next_due(), clock_.now().steady + kTtl);
}

TEST_F(QueueCoreTest, KeepsAHeartbeatOverARollback) {
  const Lease lease = start_one();
  clock_.advance(kTtl);
  tick();
  ASSERT_EQ(core_->lost().size(), 1U);
  // The commit is under way, and may fail: to the outside the lease still holds.
  ASSERT_TRUE(core_->heartbeat(lease, 2.0, clock_.now()));
  core_->rollback();

  EXPECT_EQ(core_->next_due(), clock_.now().steady + kTtl);
  EXPECT_EQ(core_->find(lease.task)->progress, 1.0);
  EXPECT_EQ(*finish(lease, kSucceeded), succeeded);
}

TEST_F(QueueCoreTest, KeepsTimeWhateverTheWallClockDoes) {
  const Lease lease = start_one();
  const TaskId waits = committed({.start_timeout = seconds{60}});
  clock_.jump_wall(hours{48});
  tick();
  EXPECT_TRUE(core_->changes().empty());
  clock_.jump_wall(-hours{96});
  clock_.advance(kTtl);
  tick();

  ASSERT_EQ(core_->changes().size(), 1U);
  EXPECT_EQ(last_change().row.id, lease.task);
  core_->commit();
  clock_.advance(seconds{30});
  tick();
  EXPECT_EQ(last_change().row.id, waits);
}

// ---- every path ends ---------------------------------------------------------------------------

TEST_F(QueueCoreTest, RetriesUntilTheAttemptsAreSpent) {
  core_->set_model(kModel, {.attempts_max = 2});
  const Lease first = start_one();
  ASSERT_EQ(*finish(first, kRetryable, kMost), queued);
  EXPECT_EQ(last_change().attempt_result, "failed");
  EXPECT_EQ(last_change().attempt_token, first.token);
  ASSERT_TRUE(last_change().row.not_before);
  core_->commit();
  EXPECT_TRUE(claim().empty());
  EXPECT_EQ(core_->find(first.task)->position, 0U);

  clock_.advance(seconds{1});
  tick();
  EXPECT_EQ(core_->claimable().size(), 1U);
  EXPECT_TRUE(core_->changes().empty());
  const Claimed second = claim().at(0);
  EXPECT_EQ(second.attempt, 2U);
  EXPECT_EQ(*finish(second.lease, kRetryable), failed);
  EXPECT_EQ(last_change().row.error_type, ErrorType::inference_failure);
  EXPECT_EQ(last_change().row.ended, clock_.now().wall);
}

TEST_F(QueueCoreTest, NamesALostRunnerInTheLastFailure) {
  core_->set_model(kModel, {.attempts_max = 1});
  start_one();
  clock_.advance(kTtl);
  tick();

  EXPECT_EQ(last_change().row.state, failed);
  EXPECT_EQ(last_change().row.error_type, ErrorType::inference_failure);
  EXPECT_EQ(last_change().attempt_result, "lost");
  EXPECT_EQ(last_change().error, "Task execution failed: its runner was lost");
}

TEST_F(QueueCoreTest, EndsAtTheFirstFailureWhereRetriesAreForbidden) {
  EXPECT_EQ(*finish(start_one({.no_retry = true}), kRetryable), failed);
  core_->set_model(kModel, {.retry = false});
  EXPECT_EQ(*finish(start_one(), kRetryable), failed);
}

TEST_F(QueueCoreTest, GivesAReleasedAttemptBack) {
  core_->set_model(kModel, {.attempts_max = 1, .retry = false});
  for (int i = 0; i < 5; ++i) {
    const Lease lease = start_one();
    ASSERT_EQ(*finish(lease, kReleased), queued);
    EXPECT_EQ(last_change().attempt_result, "released");
    core_->commit();
    EXPECT_EQ(core_->find(lease.task)->row.attempts_started, 0U);
    const Claimed again = claim().at(0);
    EXPECT_EQ(again.lease.task, lease.task);
    EXPECT_EQ(again.attempt, 1U);
    ASSERT_EQ(*finish(again.lease, kSucceeded), succeeded);
    core_->commit();
  }
}

TEST_F(QueueCoreTest, EndsATaskThatIsNotStartedInTime) {
  const TaskId id = committed({.start_timeout = seconds{5}});
  clock_.advance(seconds{5});
  tick();

  EXPECT_EQ(last_change().row.id, id);
  EXPECT_EQ(last_change().row.error_type, ErrorType::inference_timeout);
  EXPECT_TRUE(last_change().row.start_timed_out);
  EXPECT_EQ(last_change().error, "Task was not started in time");
  EXPECT_EQ(last_change().attempt_result, "");
}

TEST_F(QueueCoreTest, StartsNoTaskTooLateEvenBeforeATick) {
  committed({.start_timeout = seconds{5}});
  const TaskId patient = committed();
  clock_.advance(seconds{5});

  EXPECT_EQ(claimed_ids(1), std::vector{patient});
  EXPECT_TRUE(core_->changes()[0].row.start_timed_out);
}

TEST_F(QueueCoreTest, HoldsTheStartDeadlineForTheFirstStartOnly) {
  const Lease lease = start_one({.start_timeout = seconds{5}});
  ASSERT_EQ(*finish(lease, kReleased), queued);
  core_->commit();
  clock_.advance(hours{1});
  tick();

  EXPECT_TRUE(core_->changes().empty());
  EXPECT_EQ(core_->find(lease.task)->row.start_deadline, std::nullopt);
}

TEST_F(QueueCoreTest, EndsTheTasksOfAModelThatIsNoLongerServed) {
  const Lease lease = start_one();
  committed({.priority = Priority::low});
  committed({.key = kSecond});

  EXPECT_EQ(core_->end_unserved(kModel, 1, clock_.now()), 1U);
  EXPECT_EQ(core_->end_unserved(kModel, 9, clock_.now()), 1U);
  EXPECT_EQ(last_change().row.error_type, ErrorType::internal_server_error);
  EXPECT_EQ(last_change().error, "Model is no longer served");
  EXPECT_EQ(try_submit().error().code, ErrorCode::invalid_argument);

  EXPECT_EQ(*finish(lease, kRetryable), failed);  // where else should it wait
  EXPECT_EQ(last_change().error, "Model is no longer served");
  core_->commit();
  core_->set_model(kModel, {});
  EXPECT_TRUE(try_submit().has_value());
}

// ---- cancel ------------------------------------------------------------------------------------

TEST_F(QueueCoreTest, CancelsAQueuedTaskAtOnce) {
  const TaskId id = committed();

  EXPECT_EQ(*core_->cancel(id, clock_.now()), canceled);
  EXPECT_EQ(last_change().error, "Task canceled");
  EXPECT_EQ(last_change().row.error_type, ErrorType::canceled);
  EXPECT_TRUE(claim().empty());
  EXPECT_EQ(core_->cancel(id, clock_.now()).error().code, ErrorCode::not_found);
}

TEST_F(QueueCoreTest, MarksARunningTaskAndWaitsForItsRunner) {
  const Lease lease = start_one();
  EXPECT_FALSE(*core_->heartbeat(lease, {}, clock_.now()));
  EXPECT_EQ(*core_->cancel(lease.task, clock_.now()), running);
  EXPECT_FALSE(*core_->heartbeat(lease, {}, clock_.now())) << "not before it is durable";
  EXPECT_EQ(last_change().kind, Change::Kind::cancel_marked);
  EXPECT_EQ(last_change().row.lease_token, lease.token);
  core_->commit();

  EXPECT_TRUE(*core_->heartbeat(lease, {}, clock_.now()));
  EXPECT_EQ(*core_->cancel(lease.task, clock_.now()), running);
  EXPECT_TRUE(core_->changes().empty()) << "it is marked already";
  EXPECT_EQ(*finish(lease, kCanceled), canceled);
}

TEST_F(QueueCoreTest, LetsACompleteResultWinOverACancel) {
  const Lease lease = start_one();
  ASSERT_TRUE(core_->cancel(lease.task, clock_.now()));
  core_->commit();

  EXPECT_EQ(*finish(lease, kSucceeded), succeeded);
}

TEST_F(QueueCoreTest, CancelsWhatWouldHaveBeenRetried) {
  for (const AttemptReport& report : {kRetryable, kReleased, kCanceled}) {
    const Lease lease = start_one();
    ASSERT_TRUE(core_->cancel(lease.task, clock_.now()));
    EXPECT_EQ(*finish(lease, report), canceled);
    core_->commit();
  }
  const Lease lost = start_one();
  ASSERT_TRUE(core_->cancel(lost.task, clock_.now()));
  clock_.advance(kTtl);
  tick();
  EXPECT_EQ(last_change().row.state, canceled);
  EXPECT_EQ(last_change().error, "Task canceled");
}

// Simulation, seed 10: the attempt was given back to a task that had no more use for it.
TEST_F(QueueCoreTest, KeepsTheCountOfAttemptsWhenAReleasedTaskIsCanceled) {
  const Lease lease = start_one();
  ASSERT_TRUE(core_->cancel(lease.task, clock_.now()));

  ASSERT_EQ(*finish(lease, kReleased), canceled);

  EXPECT_EQ(last_change().row.attempts_started, 1U);
}

// ---- an administrator's retry ------------------------------------------------------------------

TEST_F(QueueCoreTest, QueuesAnEndedTaskWithFreshAttempts) {
  core_->set_model(kModel, {.attempts_max = 1});
  const Lease lease = start_one();
  ASSERT_EQ(*finish(lease, kRetryable), failed);
  const TaskRow ended = last_change().row;
  EXPECT_EQ(core_->requeue(ended).error().code, ErrorCode::unavailable);
  core_->commit();

  ASSERT_TRUE(core_->requeue(ended));
  EXPECT_EQ(last_change().kind, Change::Kind::requeued);
  EXPECT_EQ(last_change().row.state, queued);
  EXPECT_EQ(last_change().row.error_type, ErrorType::none);
  EXPECT_EQ(last_change().row.ended, std::nullopt);
  EXPECT_EQ(core_->requeue(ended).error().code, ErrorCode::conflict);
  core_->commit();

  EXPECT_EQ(core_->requeue(ended).error().code, ErrorCode::conflict);
  EXPECT_EQ(claim().at(0).attempt, 1U);
}

TEST_F(QueueCoreTest, QueuesNoSuccessAgain) {
  const Lease lease = start_one();
  ASSERT_EQ(*finish(lease, kSucceeded), succeeded);
  const TaskRow ended = last_change().row;
  core_->commit();

  EXPECT_EQ(core_->requeue(ended).error().code, ErrorCode::conflict);
}

TEST_F(QueueCoreTest, QueuesNothingAgainThatHasNotEnded) {
  for (const TaskState state : {queued, running}) {
    const TaskRow row{.id = next_id(), .state = state};
    EXPECT_EQ(core_->requeue(row).error().code, ErrorCode::conflict);
  }
}

TEST_F(QueueCoreTest, KeepsTheLimitsWhenATaskIsQueuedAgain) {
  core_->set_model(kModel, {.queued_max = 1});
  ASSERT_TRUE(core_->cancel(committed(), clock_.now()));
  const TaskRow ended = last_change().row;
  core_->commit();
  committed();

  EXPECT_EQ(core_->requeue(ended).error().code, ErrorCode::rate_limited);
}

TEST_F(QueueCoreTest, EndsManyLateTasksInPortionsWithoutSleepingOnTheRest) {
  for (int i = 0; i < 1'500; ++i) submit({.start_timeout = seconds{1}});
  const TaskId patient = submit();
  core_->commit();
  clock_.advance(seconds{1});

  EXPECT_TRUE(claim().empty());
  EXPECT_EQ(core_->changes().size(), 1'000U);
  EXPECT_EQ(core_->claimable().size(), 1U);
  core_->commit();
  EXPECT_EQ(claimed_ids(1), std::vector{patient});
}

}  // namespace
}  // namespace quern
