#include <algorithm>
#include <map>
#include <utility>
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

// ---- recovery ----------------------------------------------------------------------------------

TEST_F(QueueCoreTest, SpendsTheAttemptThatACrashInterrupted) {
  const Lease lease = start_one();
  const TaskRow row = core_->find(lease.task)->row;
  restart({row});

  EXPECT_EQ(last_change().kind, Change::Kind::attempt_ended);
  EXPECT_EQ(last_change().attempt_result, "crashed");
  EXPECT_EQ(last_change().attempt_token, lease.token);
  EXPECT_EQ(finish(lease, kSucceeded).error().code, ErrorCode::lease_lost);
  core_->commit();
  const Claimed again = claim().at(0);
  EXPECT_EQ(again.attempt, 2U);
  EXPECT_GT(again.lease.token, lease.token);
}

TEST_F(QueueCoreTest, EndsATaskThatCrashedItsLastAttempt) {
  const TaskRow row = core_->find(start_one().task)->row;
  restart({row}, {.attempts_max = 1});
  EXPECT_EQ(last_change().row.state, failed);
  EXPECT_EQ(last_change().row.error_type, ErrorType::internal_server_error);
  EXPECT_EQ(last_change().error, "Task execution failed");

  TaskRow no_retry = row;
  no_retry.no_retry = true;
  restart({no_retry});
  EXPECT_EQ(last_change().row.error_type, ErrorType::internal_server_error);
}

TEST_F(QueueCoreTest, RemembersACancelOverACrash) {
  const Lease lease = start_one();
  ASSERT_TRUE(core_->cancel(lease.task, clock_.now()));
  core_->commit();
  restart({core_->find(lease.task)->row});

  EXPECT_EQ(last_change().row.state, canceled);
  EXPECT_EQ(last_change().attempt_result, "crashed");
}

TEST_F(QueueCoreTest, ResumesAgainAfterAFailedCommit) {
  const Lease lease = start_one();
  restart({core_->find(lease.task)->row});
  core_->rollback();
  EXPECT_EQ(state_of(lease.task), running);
  EXPECT_EQ(core_->heartbeat(lease, {}, clock_.now()).error().code, ErrorCode::lease_lost);

  core_->resume(clock_.now());
  core_->commit();
  EXPECT_EQ(state_of(lease.task), queued);
  core_->resume(clock_.now());
  EXPECT_TRUE(core_->changes().empty());
}

TEST_F(QueueCoreTest, LetsATickDoTheWorkOfAFailedResume) {
  const Lease lease = start_one();
  restart({core_->find(lease.task)->row});
  core_->rollback();
  tick();

  EXPECT_EQ(last_change().attempt_result, "crashed");
  EXPECT_TRUE(core_->lost().empty());
  core_->commit();
  core_->resume(clock_.now());
  EXPECT_TRUE(core_->changes().empty());
}

TEST_F(QueueCoreTest, BoundsWaitsThatAWallClockHasStretched) {
  const Lease lease = start_one({.key = kSecond});
  ASSERT_EQ(*finish(lease, kRetryable, kMost), queued);
  core_->commit();
  const TaskId starts = committed({.start_timeout = seconds{100}});
  const std::vector<TaskRow> rows = {core_->find(starts)->row, core_->find(lease.task)->row};
  ASSERT_TRUE(rows[1].not_before);
  clock_.jump_wall(-hours{24});
  restart(rows);
  core_->commit();

  clock_.advance(seconds{60});
  tick();
  EXPECT_EQ(claimed_ids(1), std::vector{lease.task});
  core_->rollback();
  clock_.advance(seconds{40});
  tick();
  EXPECT_EQ(last_change().row.id, starts);
  EXPECT_TRUE(last_change().row.start_timed_out);
}

TEST_F(QueueCoreTest, KeepsALongBackoffOverARestart) {
  const ModelPolicy policy{.backoff_min = seconds{600}, .backoff_max = seconds{600}};
  core_->set_model(kModel, policy);
  const Lease lease = start_one();
  ASSERT_EQ(*finish(lease, kRetryable, kMost), queued);
  core_->commit();
  restart({core_->find(lease.task)->row}, policy);
  core_->commit();

  clock_.advance(seconds{599});
  tick();
  EXPECT_TRUE(claim().empty());
  clock_.advance(seconds{1});
  tick();
  EXPECT_EQ(claimed_ids(1), std::vector{lease.task});
}

TEST_F(QueueCoreTest, EndsAtOnceWhatShouldHaveStartedWhileTheServerWasDown) {
  const TaskRow row = core_->find(committed({.start_timeout = seconds{5}}))->row;
  clock_.advance(seconds{5});
  restart({row});
  tick();

  EXPECT_TRUE(last_change().row.start_timed_out);
}

TEST_F(QueueCoreTest, DoesNotPutNewKeysBeforeTheBacklogAfterARestart) {
  std::vector<TaskRow> rows;
  for (int i = 0; i < 100; ++i) submit();
  core_->commit();
  for (const Claimed& claimed : claim(50)) ASSERT_TRUE(finish(claimed.lease, kSucceeded));
  core_->commit();
  for (int i = 0; i < 3; ++i) rows.push_back(core_->find(claim().at(0).lease.task)->row);
  core_->rollback();
  restart(rows);
  core_->commit();

  const TaskId newcomer = committed({.key = kSecond});
  EXPECT_EQ(core_->find(newcomer)->row.rank, 49);  // the task claimed last
  EXPECT_EQ(core_->find(newcomer)->position, 0U);
  EXPECT_EQ(core_->find(committed({.key = kSecond}))->position, 2U);
}

TEST_F(QueueCoreTest, RestoresTheTimeThoughALightKeyIsNextInLine) {
  core_->set_key(kKey, {.weight = 0.01});
  for (int i = 0; i < 2; ++i) submit();
  for (int i = 0; i < 200; ++i) submit({.key = kSecond});
  std::vector<TaskRow> rows;
  for (const Claimed& claimed : claim(101)) ASSERT_TRUE(finish(claimed.lease, kSucceeded));
  core_->commit();
  for (const Claimed& claimed : claim(101)) rows.push_back(core_->find(claimed.lease.task)->row);
  core_->rollback();
  ASSERT_EQ(rows[0].key, kKey);
  restart(rows, {}, {.weight = 0.01});
  core_->commit();

  const TaskId newcomer = committed({.key = KeyIndex{7}});
  EXPECT_EQ(core_->find(newcomer)->row.rank, 99);  // the task claimed last, of the other key
}

TEST_F(QueueCoreTest, RestoresTheTimeThoughARetryIsNextInLine) {
  for (int i = 0; i < 100; ++i) submit();
  core_->commit();
  const std::vector<Claimed> got = claim(50);
  ASSERT_EQ(*finish(got[0].lease, kRetryable), queued);
  for (int i = 1; i < 50; ++i) ASSERT_TRUE(finish(got[i].lease, kSucceeded));
  core_->commit();
  std::vector<TaskRow> rows;
  for (const Claimed& claimed : claim(51)) rows.push_back(core_->find(claimed.lease.task)->row);
  core_->rollback();
  ASSERT_EQ(rows[0].rank, 0);
  restart(rows);
  core_->commit();

  EXPECT_EQ(core_->find(committed({.key = kSecond}))->row.rank, 49);
}

// Stores of the first version hold finish tags, one share above what is a rank now.
TEST_F(QueueCoreTest, KeepsTheOrderOfAStoreWhoseRanksAreFinishTags) {
  std::vector<TaskRow> rows;
  for (int i = 1; i <= 10; ++i) {
    rows.push_back({.id = next_id(), .key = kSecond, .rank = 40.0 + i});
    rows.push_back({.id = next_id(), .key = kKey, .rank = 40 + i / 2.0});
  }
  restart(rows, {}, {.weight = 2});
  core_->commit();

  std::vector<TaskId> expected = {committed({.key = KeyIndex{7}})};
  std::ranges::sort(rows, {}, [](const TaskRow& row) { return std::pair(row.rank, row.id); });
  for (const TaskRow& row : rows) expected.push_back(row.id);

  EXPECT_EQ(claimed_ids(21), expected);
}

// Simulation, seed 16: the order of the ends was that of the rows.
TEST_F(QueueCoreTest, RestoresTheSameFromRowsInAnyOrder) {
  std::vector<TaskRow> rows;
  for (int i = 0; i < 50; ++i) {
    const Lease lease = start_one({.key = KeyIndex{static_cast<std::uint32_t>(i % 3)}});
    clock_.advance(milliseconds{1});
    rows.push_back(core_->find(lease.task)->row);
  }
  for (int i = 0; i < 50; ++i) rows.push_back(core_->find(committed())->row);
  restart(rows, {.attempts_max = 1});
  const std::vector<Change> expected(core_->changes().begin(), core_->changes().end());
  core_->commit();
  const std::optional<WallTime> oldest = core_->oldest_queued(kModel);

  std::ranges::reverse(rows);
  restart(rows, {.attempts_max = 1});

  EXPECT_TRUE(std::ranges::equal(core_->changes(), expected, {}, &Change::row, &Change::row));
  core_->commit();
  EXPECT_EQ(core_->oldest_queued(kModel), oldest);
}

TEST_F(QueueCoreTest, NeverRepeatsATokenThatItWasTold) {
  restart({});
  core_->restore_last_token(41);
  EXPECT_EQ(start_one().token, 42U);
}

// ---- eta ---------------------------------------------------------------------------------------

TEST_F(QueueCoreTest, KnowsNoEtaBeforeARunWasSeen) {
  EXPECT_EQ(core_->find(committed())->eta, std::nullopt);
}

TEST_F(QueueCoreTest, KnowsNoEtaWhileAModelIsPausedOrATaskWaitsForItsRetry) {
  core_->set_model(kModel, {.backoff_min = seconds{600}, .backoff_max = seconds{600}});
  ASSERT_EQ(*finish(start_one(), kSucceeded), succeeded);
  core_->commit();
  const Lease failing = start_one();
  ASSERT_EQ(*finish(failing, kRetryable, kMost), queued);
  const TaskId behind = committed();

  EXPECT_EQ(core_->find(failing.task)->eta, std::nullopt);
  EXPECT_TRUE(core_->find(behind)->eta);

  core_->set_paused(kModel, true);
  EXPECT_EQ(core_->find(behind)->eta, std::nullopt);
  core_->set_paused(kModel, false);
  clock_.advance(seconds{600});
  tick();
  core_->commit();
  EXPECT_TRUE(core_->find(failing.task)->eta);
}

TEST_F(QueueCoreTest, TellsWhenATaskOfAKeyWillStartThatMayRunLess) {
  constexpr std::uint32_t kRunningMax = 2;
  core_->set_model(kModel, {.slots = 8});
  core_->set_key(kKey, {.running_max = kRunningMax, .weight = 4});
  std::vector<Lease> runs;
  const auto run_for_ten_seconds = [&] {
    for (const Lease& lease : std::exchange(runs, {})) ASSERT_TRUE(finish(lease, kSucceeded));
    for (const Claimed& claimed : claim(8)) runs.push_back(claimed.lease);
    core_->commit();
    clock_.advance(seconds{10});
  };
  submit();
  run_for_ten_seconds();
  std::vector<TaskId> ids;
  for (int i = 0; i < 40; ++i)
    ids.push_back(submit({.priority = i < 20 ? Priority::normal : Priority::low}));
  run_for_ten_seconds();  // the first two of them

  for (std::size_t i = kRunningMax; i < ids.size(); ++i) {
    const LiveTask live = core_->find(ids[i]).value();
    const double rounds = static_cast<double>((i - kRunningMax) / kRunningMax + 1);
    ASSERT_TRUE(live.eta) << i;
    EXPECT_GE(*live.eta, rounds * 10 / 2) << i;
    EXPECT_LE(*live.eta, rounds * 10) << i;
    EXPECT_EQ(live.position, i - kRunningMax);
  }
}

TEST_F(QueueCoreTest, KnowsNoEtaWhereAnotherModelUsesThePlacesOfTheKey) {
  core_->set_key(kKey, {.running_max = 1});
  ASSERT_TRUE(finish(start_one(), kSucceeded));
  core_->commit();
  const Lease elsewhere = start_one({.model = kOther});
  const TaskId waits = committed();
  const TaskId free = committed({.key = kSecond});

  EXPECT_EQ(core_->find(waits)->eta, std::nullopt);
  EXPECT_TRUE(core_->find(free)->eta);

  core_->set_key(kKey, {.running_max = 2});
  EXPECT_TRUE(core_->find(waits)->eta) << "there is a place for each of its tasks";
  core_->set_key(kKey, {.running_max = 1});
  ASSERT_TRUE(finish(elsewhere, kSucceeded));
  core_->commit();
  EXPECT_TRUE(core_->find(waits)->eta);
}

TEST_F(QueueCoreTest, ForgetsColdRunsOnceThereAreOthers) {
  constexpr std::uint32_t kSlots = 3;
  core_->set_model(kModel, {.slots = kSlots});
  std::vector<Lease> cold;
  for (std::uint32_t i = 0; i < kSlots; ++i) cold.push_back(start_one());
  clock_.advance(seconds{60});
  for (const Lease& lease : cold) ASSERT_TRUE(finish(lease, kSucceeded));
  core_->commit();

  const Lease warm = start_one();
  clock_.advance(seconds{1});
  ASSERT_TRUE(finish(warm, kSucceeded));
  for (std::uint32_t i = 0; i < kSlots; ++i) start_one();

  EXPECT_DOUBLE_EQ(core_->find(committed())->eta.value(), 1.0 / kSlots);
}

TEST_F(QueueCoreTest, LetsOneOddRunOfManyAtMostDoubleAnEta) {
  const auto run = [&](seconds time) {
    const Lease lease = start_one();
    clock_.advance(time);
    ASSERT_TRUE(core_->heartbeat(lease, {}, clock_.now()));
    ASSERT_TRUE(finish(lease, kSucceeded));
    core_->commit();
  };
  const auto eta = [&] {
    const TaskId waits = committed();
    const double answer = core_->find(waits)->eta.value();
    EXPECT_TRUE(core_->cancel(waits, clock_.now()));
    core_->commit();
    return answer;
  };
  for (int i = 0; i < 20; ++i) run(seconds{2});
  start_one();  // has the only slot
  ASSERT_DOUBLE_EQ(eta(), 2);

  run(seconds{3'600});
  EXPECT_LE(eta(), 4);
  for (int i = 0; i < 30; ++i) run(seconds{60});
  EXPECT_GT(eta(), 50) << "what is no longer odd is believed";
}

TEST_F(QueueCoreTest, TellsWhenATaskWillStartWithinAFactorOfTwo) {
  constexpr std::size_t kSlots = 3;
  core_->set_model(kModel, {.slots = kSlots});
  std::vector<TaskId> ids;
  for (std::uint32_t i = 0; i < 120; ++i) ids.push_back(submit({.key = KeyIndex{i % 4}}));
  core_->commit();

  std::map<SteadyTime, std::vector<Lease>> ends;  // what runs, by the time when it is done
  std::map<TaskId, SteadyTime> promised;
  int compared = 0;
  std::size_t busy = 0;
  for (int second = 0; second < 600; ++second) {
    const SteadyTime now = clock_.now().steady;
    for (const Lease& lease : ends[now]) EXPECT_EQ(*finish(lease, kSucceeded), succeeded);
    busy -= ends[now].size();
    for (const Claimed& claimed : claim(static_cast<std::uint32_t>(kSlots - busy))) {
      ++busy;
      ends[now + seconds{10 + second % 5}].push_back(claimed.lease);
      const auto promise = promised.find(claimed.lease.task);
      if (promise == promised.end()) continue;
      const std::chrono::duration<double> waited = now - (SteadyTime{} + seconds{1'060});
      const std::chrono::duration<double> said = promise->second - (SteadyTime{} + seconds{1'060});
      if (waited < seconds{14}) continue;  // within one run, chance decides
      EXPECT_GT(said, waited / 2);
      EXPECT_LT(said, waited * 2);
      ++compared;
    }
    core_->commit();
    if (second == 60) {
      for (const TaskId& id : ids) {
        const std::optional<LiveTask> live = core_->find(id);
        if (!live || live->row.state != queued) continue;
        promised[id] = now + milliseconds{static_cast<std::int64_t>(live->eta.value() * 1'000)};
      }
    }
    clock_.advance(seconds{1});
  }

  EXPECT_GT(compared, 90);
  EXPECT_EQ(core_->queued() + core_->running(), 0U);
}

}  // namespace
}  // namespace quern
