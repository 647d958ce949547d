#include <algorithm>
#include <set>

#include "queue/core_fixture.h"

namespace quern {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using enum TaskState;

// ---- batches and looking -----------------------------------------------------------------------

TEST_F(QueueCoreTest, ShowsATaskOnlyOnceItIsCommitted) {
  const TaskId id = submit();
  EXPECT_FALSE(core_->find(id).has_value());
  EXPECT_EQ(core_->queued(), 0U);
  ASSERT_EQ(core_->changes().size(), 1U);
  EXPECT_EQ(core_->changes()[0].kind, Change::Kind::submitted);

  core_->commit();

  EXPECT_EQ(state_of(id), queued);
  EXPECT_EQ(core_->queued(kModel), 1U);
  EXPECT_TRUE(core_->changes().empty());
}

TEST_F(QueueCoreTest, ForgetsARolledBackSubmit) {
  const TaskId id = submit();
  core_->rollback();

  EXPECT_FALSE(core_->find(id).has_value());
  EXPECT_TRUE(claim().empty());
  EXPECT_EQ(core_->next_due(), std::nullopt);
  const TaskId next = committed();
  EXPECT_EQ(core_->find(next)->row.rank, 0);  // the lost task has not cost its key anything
}

TEST_F(QueueCoreTest, ShowsTheStateBeforeTheOpenBatch) {
  const TaskId first = committed();
  const TaskId second = committed();
  const Lease lease = claim().at(0).lease;
  EXPECT_EQ(lease.task, first);

  EXPECT_EQ(state_of(first), queued);
  EXPECT_EQ(core_->find(second)->position, 1U);
  EXPECT_EQ(core_->queued(kModel), 2U);
  EXPECT_EQ(core_->running(kModel), 0U);

  core_->commit();
  EXPECT_EQ(state_of(first), running);
  EXPECT_EQ(core_->find(second)->position, 0U);
  EXPECT_EQ(core_->running(), 1U);
}

TEST_F(QueueCoreTest, CorrectsPositionsByWhatIsInFlight) {
  const TaskId first = committed();
  const TaskId second = committed();
  const TaskId third = committed();
  claim();                                      // takes the first
  EXPECT_EQ(try_submit({.key = kSecond}), 0U);  // the first of the working queue
  EXPECT_EQ(try_submit(), 3U);
  ASSERT_TRUE(core_->cancel(second, clock_.now()));

  EXPECT_EQ(core_->find(first)->position, 0U);
  EXPECT_EQ(core_->find(second)->position, 1U);
  EXPECT_EQ(core_->find(third)->position, 2U);

  core_->commit();
  EXPECT_EQ(core_->find(third)->position, 1U);
}

TEST_F(QueueCoreTest, GivesEverythingBackOnRollback) {
  const TaskId waits = committed({.start_timeout = seconds{50}});
  const Lease lease = start_one({.model = kOther});
  const std::optional<SteadyTime> due = core_->next_due();
  ASSERT_TRUE(core_->cancel(waits, clock_.now()));
  ASSERT_TRUE(finish(lease, kSucceeded));
  submit({.key = kSecond});
  EXPECT_EQ(core_->next_due(), std::nullopt);

  core_->rollback();

  EXPECT_EQ(core_->next_due(), due);
  EXPECT_EQ(state_of(waits), queued);
  EXPECT_EQ(state_of(lease.task), running);
  EXPECT_EQ(claimed_ids(5), std::vector{waits});
  EXPECT_EQ(*finish(lease, kSucceeded), succeeded);
}

TEST_F(QueueCoreTest, NeverGivesALeaseTokenTwice) {
  committed();
  const std::uint64_t lost_token = claim().at(0).lease.token;
  core_->rollback();

  EXPECT_GT(claim().at(0).lease.token, lost_token);
}

TEST_F(QueueCoreTest, LeavesAnEndedTaskVisibleAsRunningUntilTheCommit) {
  const Lease lease = start_one();
  ASSERT_TRUE(core_->heartbeat(lease, 0.5, clock_.now()));
  ASSERT_EQ(*finish(lease, kSucceeded), succeeded);

  EXPECT_EQ(state_of(lease.task), running);
  EXPECT_EQ(core_->find(lease.task)->progress, 0.5);
  EXPECT_EQ(core_->find(lease.task)->row.lease_token, lease.token);

  core_->commit();
  EXPECT_FALSE(core_->find(lease.task).has_value());
}

TEST_F(QueueCoreTest, KnowsTheOldestQueuedTask) {
  EXPECT_EQ(core_->oldest_queued(kModel), std::nullopt);
  const WallTime start = clock_.now().wall;
  committed();
  clock_.advance(seconds{1});
  committed({.key = kSecond});

  EXPECT_EQ(core_->oldest_queued(kModel), start);
  claim();
  core_->commit();
  EXPECT_EQ(core_->oldest_queued(kModel), start + seconds{1});
}

// ---- claim order -------------------------------------------------------------------------------

TEST_F(QueueCoreTest, DoesNotLetALongBacklogDelayAnotherKey) {
  for (int i = 0; i < 1'000; ++i) submit();
  const TaskId lonely = submit({.key = kSecond});
  core_->commit();

  EXPECT_EQ(core_->find(lonely)->position, 1U);
  const std::vector<TaskId> got = claimed_ids(2);
  EXPECT_EQ(got.at(1), lonely);
}

TEST_F(QueueCoreTest, SharesAModelByWeight) {
  core_->set_key(kSecond, {.weight = 3});
  for (int i = 0; i < 100; ++i) {
    submit();
    submit({.key = kSecond});
  }
  const std::vector<Claimed> got = claim(40);

  const auto of_second =
      std::ranges::count_if(got, [](const Claimed& c) { return c.key == kSecond; });

  EXPECT_EQ(of_second, 30);
}

TEST_F(QueueCoreTest, ServesLowPriorityFirstEveryTenthClaim) {
  for (int i = 0; i < 30; ++i) submit();
  for (int i = 0; i < 3; ++i) submit({.priority = Priority::low});
  core_->commit();
  std::vector<std::size_t> low_at;
  const std::vector<Claimed> got = claim(33);
  core_->commit();
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (core_->find(got[i].lease.task)->row.priority == Priority::low) low_at.push_back(i);
  }

  EXPECT_EQ(low_at, (std::vector<std::size_t>{9, 19, 29}));
}

TEST_F(QueueCoreTest, CountsNormalTasksBeforeALowOne) {
  const TaskId low = committed({.priority = Priority::low});
  committed();
  committed();

  EXPECT_EQ(core_->find(low)->position, 2U);
}

TEST_F(QueueCoreTest, SkipsAKeyAtItsLimitWithoutLosingItsPlace) {
  core_->set_key(kKey, {.running_max = 1});
  const TaskId first = committed();
  const TaskId second = committed();
  const TaskId later = committed({.key = kSecond});
  clock_.advance(seconds{1});
  committed({.key = kSecond});

  const std::vector<Claimed> got = claim(2);
  core_->commit();
  EXPECT_EQ(got.at(0).lease.task, first);
  EXPECT_EQ(got.at(1).lease.task, later);
  EXPECT_EQ(core_->find(second)->position, 0U);  // by its rank it is still the first

  ASSERT_TRUE(finish(got[0].lease, kSucceeded));
  EXPECT_EQ(core_->claimable().size(), 1U);
  EXPECT_EQ(claimed_ids(1), std::vector{second});
}

TEST_F(QueueCoreTest, CountsAKeysRunningTasksOverAllModels) {
  core_->set_key(kKey, {.running_max = 1});
  const Lease lease = start_one({.model = kOther});
  const TaskId waits = committed();
  EXPECT_TRUE(claim().empty());

  core_->set_key(kKey, {.running_max = 2});
  EXPECT_EQ(core_->claimable().size(), 1U);
  EXPECT_EQ(claimed_ids(1), std::vector{waits});
  core_->rollback();

  core_->set_key(kKey, {.running_max = 1});
  EXPECT_TRUE(claim().empty());
  ASSERT_TRUE(finish(lease, kSucceeded));
  EXPECT_EQ(claimed_ids(1), std::vector{waits});
}

TEST_F(QueueCoreTest, GivesTheLastPlaceOfAKeyToItsOldestTaskWhicheverModelClaimsFirst) {
  core_->set_key(kKey, {.running_max = 1});
  const Lease lease = start_one();
  const TaskId oldest = committed({.model = kOther});
  for (int i = 0; i < 5; ++i) committed();
  const TaskId beside = committed({.key = kSecond});

  ASSERT_TRUE(finish(lease, kSucceeded));
  EXPECT_EQ(claimed_ids(2), std::vector{beside}) << "others of the model go on";
  EXPECT_EQ(std::ranges::count(core_->claimable(), kModel), 1) << "it is told to come back";
  EXPECT_EQ(std::ranges::count(core_->claimable(), kOther), 1);
  core_->commit();

  EXPECT_TRUE(claim().empty());
  EXPECT_EQ(claimed_ids(1, kOther), std::vector{oldest});
}

TEST_F(QueueCoreTest, LetsNoKeyWaitLongForAModelThatDoesNotTakeItsPlace) {
  core_->set_key(kKey, {.running_max = 1});
  const Lease lease = start_one();
  committed({.model = kOther});
  const TaskId waits = committed();
  ASSERT_TRUE(finish(lease, kSucceeded));

  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(claim(9).empty());
    EXPECT_EQ(std::ranges::count(core_->claimable(), kModel), 1);
    core_->commit();
  }

  EXPECT_EQ(claimed_ids(9), std::vector{waits});
}

TEST_F(QueueCoreTest, KeepsNoPlaceOfAKeyForAModelThatCannotStartItsTask) {
  core_->set_key(kKey, {.running_max = 1});
  for (const bool is_paused : {true, false}) {
    const Lease lease = start_one();
    core_->set_paused(kOther, is_paused);
    if (!is_paused) start_one({.key = kSecond, .model = kOther});  // in its only slot
    committed({.model = kOther});
    const TaskId waits = committed();

    ASSERT_TRUE(finish(lease, kSucceeded));

    const std::vector<Claimed> got = claim();
    ASSERT_EQ(got.size(), 1U);
    EXPECT_EQ(got[0].lease.task, waits);
    ASSERT_TRUE(finish(got[0].lease, kSucceeded));
    core_->commit();
  }
}

TEST_F(QueueCoreTest, ServesTheLowTasksOfALimitedKeyBehindItsNormalOnesOfAnotherModel) {
  core_->set_key(kKey, {.running_max = 1});
  for (int i = 0; i < 30; ++i) committed({.model = kOther, .priority = Priority::low});
  for (int i = 0; i < 30; ++i) committed();

  std::vector<int> low_at;
  for (int turn = 0; turn < 20; ++turn) {
    std::vector<Claimed> got = claim(1, kOther);
    if (!got.empty()) low_at.push_back(turn);
    if (got.empty()) got = claim();
    ASSERT_EQ(got.size(), 1U);
    core_->commit();
    ASSERT_TRUE(finish(got[0].lease, kSucceeded));
    core_->commit();
  }

  EXPECT_EQ(low_at, (std::vector{9, 19}));
}

TEST_F(QueueCoreTest, HandsNothingOutOfAPausedModel) {
  core_->set_paused(kModel, true);
  const TaskId id = committed();
  EXPECT_TRUE(claim().empty());
  EXPECT_TRUE(core_->claimable().empty());

  core_->set_paused(kModel, false);
  EXPECT_EQ(core_->claimable().size(), 1U);
  EXPECT_EQ(claimed_ids(1), std::vector{id});
}

TEST_F(QueueCoreTest, KeepsTheRankOfARetryAndTheVirtualTimeGoingForward) {
  const Lease lease = start_one();
  const double rank = core_->find(lease.task)->row.rank;
  start_one();
  start_one();
  ASSERT_EQ(*finish(lease, kRetryable), queued);  // no chance: no backoff
  core_->commit();
  EXPECT_EQ(core_->find(lease.task)->row.rank, rank);
  EXPECT_EQ(claimed_ids(1), std::vector{lease.task});
  core_->commit();

  const TaskId newcomer = committed({.key = kSecond});
  EXPECT_EQ(core_->find(newcomer)->row.rank, 2);  // the latest of the three that were claimed
}

TEST_F(QueueCoreTest, ServesNewKeysRightAfterWhatRunsInTheirOrderOfArrival) {
  for (int i = 0; i < 1'000; ++i) submit();
  claim(4);  // one for each slot
  core_->commit();
  std::vector<TaskId> newcomers;
  for (std::uint32_t key = 1; key <= 5; ++key) {
    newcomers.push_back(committed({.key = KeyIndex{key}}));
  }

  EXPECT_EQ(claimed_ids(5), newcomers);
}

TEST_F(QueueCoreTest, MakesANewKeyWaitForOneTaskOfEachKeyAtMost) {
  constexpr std::uint32_t kBusy = 7;
  for (std::uint32_t i = 0; i < 100 * kBusy; ++i) submit({.key = KeyIndex{i % kBusy}});
  for (std::uint32_t claims = 1; claims < 50; ++claims) {
    claim();
    core_->commit();
    const TaskId newcomer = committed({.key = KeyIndex{1'000 + claims}});
    std::set<KeyIndex> before;
    for (Claimed next = claim().at(0); next.lease.task != newcomer; next = claim().at(0)) {
      ASSERT_TRUE(before.insert(next.key).second) << "two of one key, after " << claims;
    }
    core_->rollback();
    ASSERT_TRUE(core_->cancel(newcomer, clock_.now()));
    core_->commit();
  }
}

TEST_F(QueueCoreTest, LetsNoLowPriorityTaskMoveTheTimeOfNormalOnes) {
  for (int i = 0; i < 1'000; ++i) submit();
  for (int i = 0; i < 10; ++i) submit({.priority = Priority::low});
  claim(10);  // the tenth is one of low priority
  core_->commit();

  const TaskId newcomer = committed({.key = kSecond});

  EXPECT_EQ(core_->find(newcomer)->position, 0U);
}

TEST_F(QueueCoreTest, OwesNothingForTheUseOfAnIdleModel) {
  core_->set_key(kKey, {.weight = 0.01});
  ASSERT_TRUE(finish(start_one(), kSucceeded));
  core_->commit();

  const TaskId first = committed();
  for (int i = 0; i < 5; ++i) committed({.key = kSecond});

  EXPECT_EQ(claimed_ids(1), std::vector{first});
}

TEST_F(QueueCoreTest, GivesNoCreditForIdleTime) {
  for (int i = 0; i < 200; ++i) submit();
  claim(100);
  core_->commit();
  for (int i = 0; i < 50; ++i) submit({.key = kSecond});
  const std::vector<Claimed> got = claim(20);

  const auto of_second =
      std::ranges::count_if(got, [](const Claimed& c) { return c.key == kSecond; });

  EXPECT_EQ(of_second, 10);
}

TEST_F(QueueCoreTest, ChargesAKeyForNoTaskThatWasCanceledBeforeItsTurn) {
  start_one({.key = kSecond});
  for (int i = 0; i < 1'000; ++i) {
    const TaskId id = committed();
    ASSERT_TRUE(core_->cancel(id, clock_.now()));
    core_->commit();
  }
  for (int i = 0; i < 5; ++i) committed({.key = kSecond});

  EXPECT_EQ(core_->find(committed())->position, 0U);
}

TEST_F(QueueCoreTest, RanksTheTasksOfAKeyInTheirOrder) {
  double last = -1;
  for (int i = 0; i < 1'000; ++i) {
    core_->set_key(kKey, {.weight = 1.0 + i % 7});
    const TaskId id = committed();
    ASSERT_GT(core_->find(id)->row.rank, last);
    last = core_->find(id)->row.rank;
    if (i % 3 == 0) claim();
    core_->commit();
  }
}

// ---- limits ------------------------------------------------------------------------------------

TEST_F(QueueCoreTest, RefusesWhatIsOverALimit) {
  core_->set_model(kModel, {.queued_max = 2});
  core_->set_key(kSecond, {.queued_max = 1});
  submit();
  submit();
  EXPECT_EQ(try_submit().error().code, ErrorCode::rate_limited);
  submit({.key = kSecond, .model = kOther});
  const Result<std::uint64_t> full = try_submit({.key = kSecond, .model = kOther});

  EXPECT_EQ(full.error().code, ErrorCode::rate_limited);
  EXPECT_EQ(full.error().message, "Queue is full");
  EXPECT_GE(full.error().retry_after, seconds{1});
  EXPECT_EQ(core_->changes().size(), 3U);
}

TEST_F(QueueCoreTest, RefusesASubmissionWhenMoreThanItsOwnLimitWait) {
  EXPECT_EQ(try_submit({.model_queued_max = 0}), 0U);
  EXPECT_FALSE(try_submit({.model_queued_max = 0}).has_value());
  EXPECT_TRUE(try_submit({.model_queued_max = 1}).has_value());
}

TEST_F(QueueCoreTest, MakesRoomWhenATaskStarts) {
  core_->set_model(kModel, {.queued_max = 1});
  submit();
  EXPECT_FALSE(try_submit().has_value());
  claim();
  EXPECT_TRUE(try_submit().has_value());
}

TEST_F(QueueCoreTest, SaysHowLongAFullQueueNeeds) {
  core_->set_model(kModel, {.queued_max = 1, .slots = 2});
  const Lease lease = start_one();
  clock_.advance(seconds{20});
  ASSERT_TRUE(finish(lease, kSucceeded));
  committed();

  EXPECT_EQ(try_submit().error().retry_after, seconds{10});
}

TEST_F(QueueCoreTest, SaysHowLongAFullKeyNeedsThatMayRunLess) {
  core_->set_model(kModel, {.slots = 8});
  core_->set_key(kKey, {.queued_max = 1, .running_max = 1});
  const Lease lease = start_one();
  clock_.advance(seconds{20});
  ASSERT_TRUE(finish(lease, kSucceeded));
  committed();

  EXPECT_EQ(try_submit().error().retry_after, seconds{20});
}

}  // namespace
}  // namespace quern
