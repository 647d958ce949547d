// The structures under the core, each at a size that the simulation's short histories do not reach.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "queue/claim_index.h"
#include "queue/position_tree.h"
#include "queue/task_table.h"
#include "queue/timer_heap.h"
#include "task/fair_rank.h"

namespace quern {
namespace {

TaskId id_of(std::uint64_t n) { return {.high = n, .low = n * 0xd6e8feb86659fd93ULL}; }

SteadyTime at(std::uint64_t seconds) {
  return SteadyTime{std::chrono::seconds{static_cast<std::int64_t>(seconds)}};
}

TEST(TaskTable, FindsWhatItHoldsThroughGrowthAndReuse) {
  std::mt19937_64 dice(1);
  TaskTable tasks;
  std::map<std::uint64_t, TaskIndex> expected;
  for (int step = 0; step < 100'000; ++step) {
    const std::uint64_t n = dice() % 20'000;
    const auto held = expected.find(n);
    ASSERT_EQ(tasks.find(id_of(n)), held == expected.end() ? kNoIndex : held->second);
    if (held == expected.end()) {
      expected[n] = tasks.add({.id = id_of(n)});
    } else if (dice() % 3 == 0) {
      tasks.remove(held->second);
      expected.erase(held);
    }
    ASSERT_EQ(tasks.size(), expected.size());
  }
  for (const auto& [n, task] : expected) EXPECT_EQ(tasks.find(id_of(n)), task);
}

TEST(TimerHeap, KeepsTheEarliestFirst) {
  std::mt19937_64 dice(2);
  TaskTable tasks;
  TimerHeap timers(tasks);
  constexpr std::uint64_t kTasks = 3'000;
  for (std::uint64_t n = 0; n < kTasks; ++n) tasks.add({.id = id_of(n)});
  std::map<TaskIndex, SteadyTime> due;
  std::set<std::pair<SteadyTime, TaskId>> order;
  for (int step = 0; step < 50'000; ++step) {
    const TaskIndex task = tasks.find(id_of(dice() % kTasks));
    if (due.contains(task)) order.erase({due[task], tasks[task].id});
    if (dice() % 3 == 0) {
      timers.cancel(task);
      due.erase(task);
    } else {
      due[task] = at(dice() % 500);
      timers.set(task, due[task]);
      order.insert({due[task], tasks[task].id});
    }
    ASSERT_EQ(timers.due(task).has_value(), due.contains(task));
    ASSERT_EQ(timers.next_due().has_value(), !order.empty());
    if (order.empty()) continue;
    ASSERT_EQ(timers.next_due(), order.begin()->first);
    ASSERT_EQ(tasks[timers.first()].id, order.begin()->second);
  }
}

class PositionTreeTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kTasks = 2'000;

  PositionTreeTest() {
    for (std::uint64_t n = 0; n < kTasks; ++n) {
      all_.push_back(
          tasks_.add({.id = id_of(n), .rank = static_cast<double>(dice_() % (kTasks / 4))}));
    }
    std::ranges::sort(all_, [this](TaskIndex a, TaskIndex b) {
      return is_claimed_before(tasks_[a].rank, tasks_[a].id, tasks_[b].rank, tasks_[b].id);
    });
  }

  void compare() {
    std::uint64_t committed = 0;
    std::uint64_t working = 0;
    TaskIndex first = kNoIndex;
    for (const TaskIndex task : all_) {
      ASSERT_EQ(tree_.committed_before(root_, tasks_[task]), committed);
      ASSERT_EQ(tree_.working_before(root_, tasks_[task]), working);
      const Membership in = tasks_[task].membership;
      committed += in == Membership::committed || in == Membership::both ? 1U : 0U;
      const bool works = in == Membership::working || in == Membership::both;
      working += works ? 1U : 0U;
      if (works && first == kNoIndex) first = task;
    }
    ASSERT_EQ(tree_.committed_size(root_), committed);
    ASSERT_EQ(tree_.working_size(root_), working);
    ASSERT_EQ(tree_.first_working(root_), first);
  }

  std::mt19937_64 dice_{3};
  TaskTable tasks_;
  PositionTree tree_{tasks_};
  PoolIndex root_ = kNoIndex;
  std::vector<TaskIndex> all_;  // in claim order
};

TEST_F(PositionTreeTest, CountsBothSetsExactly) {
  constexpr Membership kAny[] = {Membership::none, Membership::committed, Membership::working,
                                 Membership::both};
  for (int step = 0; step < 40'000; ++step) {
    tree_.set_membership(root_, all_[dice_() % kTasks], kAny[dice_() % 4]);
    if (step % 1'000 == 0) compare();
  }
  for (const TaskIndex task : all_) tree_.set_membership(root_, task, Membership::none);
  compare();
  EXPECT_EQ(root_, kNoIndex);
}

class ClaimIndexTest : public testing::Test {
 protected:
  TaskIndex add(std::uint32_t key, double rank) {
    const LaneIndex lane = index_.lane(model_, Priority::normal, index_.key(KeyIndex{key}));
    index_[lane].last_finish = rank;
    const TaskIndex task = tasks_.add({.id = id_of(++made_), .rank = rank, .data = {.lane = lane}});
    index_.attach(task);
    index_.put_in(task);
    index_.settle(task);
    return task;
  }
  void end(TaskIndex task) {
    index_.take_out(task);
    tasks_[task].data.state = TaskState::canceled;
    index_.settle(task);
    index_.detach(task);
    tasks_.remove(task);
  }

  void move_to(double virtual_time) {
    model_.state.clocks[side_of(Priority::normal)].move_to(virtual_time);
  }

  TaskTable tasks_;
  ClaimIndex index_{tasks_};
  ModelQueue& model_ = index_.model(ModelIndex{0});
  std::uint64_t made_ = 0;
};

TEST_F(ClaimIndexTest, ForgetsALaneWithItsLastTask) {
  move_to(5);
  const TaskIndex first = add(1, 5);
  const TaskIndex second = add(1, 5);

  end(first);
  EXPECT_EQ(index_.lane_count(), 1U);
  end(second);
  EXPECT_EQ(index_.lane_count(), 0U);
}

TEST_F(ClaimIndexTest, RemembersALaneUntilTheVirtualTimeHasPassedIt) {
  for (std::uint32_t key = 0; key < 100; ++key) {
    end(add(key, key));
    end(add(key, key + 1));  // in the heap of idle lanes already, with its earlier tag
  }
  EXPECT_EQ(index_.lane_count(), 100U);

  move_to(50);
  index_.forget_idle(model_);
  EXPECT_EQ(index_.lane_count(), 50U);

  const TaskIndex live = add(99, 200);
  move_to(300);
  index_.forget_idle(model_);
  EXPECT_EQ(index_.lane_count(), 1U);
  end(live);
  EXPECT_EQ(index_.lane_count(), 0U);
  EXPECT_TRUE(model_.idle[side_of(Priority::normal)].empty());
}

TEST_F(ClaimIndexTest, TakesTheFirstOfManyKeys) {
  std::mt19937_64 dice(4);
  std::set<std::pair<double, TaskId>> order;
  for (int step = 0; step < 20'000; ++step) {
    if (order.empty() || dice() % 5 < 3) {
      const TaskIndex task =
          add(static_cast<std::uint32_t>(dice() % 500), static_cast<double>(dice() % 10'000));
      order.insert({tasks_[task].rank, tasks_[task].id});
    } else {
      end(tasks_.find(order.begin()->second));
      order.erase(order.begin());
    }
    const TaskIndex first = index_.first_claimable(model_);
    ASSERT_EQ(first, order.empty() ? kNoIndex : tasks_.find(order.begin()->second));
    ASSERT_EQ(index_.working_queued(model_), order.size());
  }
}

}  // namespace
}  // namespace quern
