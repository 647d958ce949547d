#include "base/delayed_wakes.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>

namespace quern {
namespace {

struct Sleeper final : Wakeable {
  void wake() override { ++wakes; }
  std::atomic<int> wakes{0};
};

TEST(DelayedWakesTest, WakesAtOnceWithoutAScope) {
  const auto sleeper = std::make_shared<Sleeper>();

  DelayedWakes::wake(sleeper);

  EXPECT_EQ(sleeper->wakes, 1);
}

TEST(DelayedWakesTest, WakesAtTheEndOfItsScope) {
  const auto first = std::make_shared<Sleeper>();
  const auto second = std::make_shared<Sleeper>();
  {
    const DelayedWakes wakes;
    DelayedWakes::wake(first);
    DelayedWakes::wake(second);
    EXPECT_EQ(first->wakes + second->wakes, 0);
  }
  EXPECT_EQ(first->wakes, 1);
  EXPECT_EQ(second->wakes, 1);
}

TEST(DelayedWakesTest, WakesEarlierWhenReleased) {
  const auto sleeper = std::make_shared<Sleeper>();
  DelayedWakes wakes;
  DelayedWakes::wake(sleeper);

  wakes.release();
  EXPECT_EQ(sleeper->wakes, 1);

  DelayedWakes::wake(sleeper);
  EXPECT_EQ(sleeper->wakes, 1);
}

TEST(DelayedWakesTest, DelaysNoOtherThread) {
  const auto sleeper = std::make_shared<Sleeper>();
  const DelayedWakes wakes;

  std::thread([&] { DelayedWakes::wake(sleeper); }).join();

  EXPECT_EQ(sleeper->wakes, 1);
}

TEST(DelayedWakesTest, KeepsWhoSleepsUntilItIsWoken) {
  auto sleeper = std::make_shared<Sleeper>();
  const std::weak_ptr<Sleeper> alive = sleeper;
  {
    const DelayedWakes wakes;
    DelayedWakes::wake(std::move(sleeper));
    EXPECT_FALSE(alive.expired());
  }
  EXPECT_TRUE(alive.expired());
}

}  // namespace
}  // namespace quern
