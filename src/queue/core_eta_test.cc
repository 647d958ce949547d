#include <map>
#include <utility>
#include <vector>

#include "queue/core_fixture.h"

namespace quern {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using enum TaskState;

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
