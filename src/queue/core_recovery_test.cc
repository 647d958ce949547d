#include <algorithm>
#include <utility>
#include <vector>

#include "queue/core_fixture.h"

namespace quern {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using enum TaskState;

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

}  // namespace
}  // namespace quern
