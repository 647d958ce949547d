#include "queue/local/watch_hub.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace quern {
namespace {

using std::chrono::milliseconds;

constexpr ModelIndex kModel{1};
constexpr SteadyTime kStart{std::chrono::hours{1}};

TaskId make_id(std::uint64_t number) {
  TaskId id;
  id.low = number;
  return id;
}

QueuePlace make_place(std::uint64_t number, ModelIndex model = kModel) {
  return {model, Priority::normal, static_cast<double>(number), make_id(number)};
}

// Watches a queued task and counts how often it is told.
struct Watcher {
  Watcher(WatchHub& hub, const QueuePlace& place, WatchFor what = WatchFor::everything)
      : watch(hub.watch(place.id, place, what, [this] { ++told; })) {}
  int told = 0;
  Watch watch;
};

TEST(WatchHub, TellsOfPositionsOnlyThoseBehindTheChange) {
  WatchHub hub;
  const Watcher first(hub, make_place(1));
  const Watcher third(hub, make_place(3));
  const Watcher elsewhere(hub, make_place(9, ModelIndex{2}));
  const Watcher state_only(hub, make_place(4), WatchFor::state);

  hub.positions_changed(make_place(5));  // a task came to the end
  hub.flush(kStart);
  EXPECT_EQ(first.told + third.told, 0);
  hub.positions_changed(make_place(2));
  hub.positions_changed(make_place(5));
  hub.flush(kStart + kPositionInterval);

  EXPECT_EQ(first.told, 0);
  EXPECT_EQ(third.told, 1);
  EXPECT_EQ(elsewhere.told, 0);
  EXPECT_EQ(state_only.told, 0);
  EXPECT_EQ(hub.next_due(), std::nullopt);
}

TEST(WatchHub, KeepsLowPriorityBehindNormal) {
  WatchHub hub;
  QueuePlace low = make_place(1);
  low.priority = Priority::low;
  const Watcher normal(hub, make_place(2));
  const Watcher behind(hub, low);

  hub.positions_changed(make_place(3));
  hub.flush(kStart);

  EXPECT_EQ(normal.told, 0);
  EXPECT_EQ(behind.told, 1);
}

TEST(WatchHub, TellsOfPositionsLessOftenTheMoreWatch) {
  WatchHub hub;
  std::vector<std::unique_ptr<Watcher>> watchers;
  for (std::uint64_t i = 0; i < 5'000; ++i)
    watchers.push_back(std::make_unique<Watcher>(hub, make_place(100 + i)));

  hub.positions_changed(make_place(1));
  hub.flush(kStart);
  hub.positions_changed(make_place(2));
  hub.flush(kStart + milliseconds{499});
  EXPECT_EQ(watchers.front()->told, 1);
  EXPECT_EQ(hub.next_due(), kStart + milliseconds{500});
  hub.flush(kStart + milliseconds{500});

  EXPECT_EQ(watchers.front()->told, 2);
  EXPECT_EQ(watchers.back()->told, 2);
}

TEST(WatchHub, FollowsATaskOutOfTheQueueAndBack) {
  WatchHub hub;
  const Watcher watcher(hub, make_place(5));

  hub.state_changed(make_id(5), std::nullopt);
  hub.positions_changed(make_place(1));
  hub.flush(kStart);
  EXPECT_EQ(watcher.told, 1) << "of its state alone";
  hub.state_changed(make_id(5), make_place(5));
  hub.positions_changed(make_place(1));
  hub.flush(kStart + kPositionInterval);

  EXPECT_EQ(watcher.told, 3);
}

TEST(WatchHub, FollowsATaskToAnotherPlace) {
  WatchHub hub;
  const Watcher watcher(hub, make_place(5));
  QueuePlace ahead = make_place(5);
  ahead.rank = 2;

  hub.state_changed(make_id(5), ahead);
  hub.positions_changed(make_place(3));
  hub.flush(kStart);
  EXPECT_EQ(watcher.told, 1) << "of its state alone";
  hub.positions_changed(make_place(1));
  hub.flush(kStart + kPositionInterval);

  EXPECT_EQ(watcher.told, 2);
}

TEST(WatchHub, TellsThoseWhoStayAtAPlaceThatAnotherHasLeft) {
  WatchHub hub;
  const Watcher stays(hub, make_place(5));
  Watcher leaves(hub, make_place(5));

  leaves.watch.reset();
  hub.positions_changed(make_place(1));
  hub.flush(kStart);

  EXPECT_EQ(stays.told, 1);
  EXPECT_EQ(leaves.told, 0);
}

TEST(WatchHub, TellsOfProgressWhoeverAsksForEverything) {
  WatchHub hub;
  const Watcher all(hub, make_place(1));
  const Watcher state_only(hub, make_place(1), WatchFor::state);

  hub.progress_changed(make_id(1));
  EXPECT_EQ(all.told, 1);
  EXPECT_EQ(state_only.told, 0);
  hub.state_changed(make_id(1), std::nullopt);

  EXPECT_EQ(all.told, 2);
  EXPECT_EQ(state_only.told, 1);
}

TEST(WatchHub, TellsNobodyWhoHasLeft) {
  WatchHub hub;
  Watcher watcher(hub, make_place(1));
  EXPECT_FALSE(hub.is_empty());

  watcher.watch.reset();
  hub.state_changed(make_id(1), std::nullopt);
  hub.positions_changed(make_place(0));
  hub.flush(kStart);

  EXPECT_TRUE(hub.is_empty());
  EXPECT_EQ(watcher.told, 0);
}

TEST(WatchHub, HasNothingDueWhileNobodyWatches) {
  WatchHub hub;
  auto watcher = std::make_unique<Watcher>(hub, make_place(5));
  hub.positions_changed(make_place(1));
  EXPECT_TRUE(hub.next_due());

  watcher.reset();
  EXPECT_EQ(hub.next_due(), std::nullopt);

  const Watcher later(hub, make_place(5));
  EXPECT_TRUE(hub.next_due());
  hub.flush(kStart);
  EXPECT_EQ(hub.next_due(), std::nullopt);
}

}  // namespace
}  // namespace quern
