#include "base/blocking_pool.h"

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <stdexcept>
#include <thread>

namespace quern {
namespace {

TEST(BlockingPool, BeginsJobsInOrderAndRunsAllThatItTookBeforeItStops) {
  BlockingPool pool;
  pool.start(1);
  std::vector<int> order;  // of the one thread, then of this one

  for (int i = 0; i < 100; ++i) pool.post([&order, i] { order.push_back(i); });
  pool.stop();

  ASSERT_EQ(order.size(), 100U);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST(BlockingPool, PreparesEachThreadBeforeItsFirstJob) {
  BlockingPool pool;
  thread_local bool is_prepared = false;
  std::promise<bool> first;
  pool.start(1, [] { is_prepared = true; });

  pool.post([&] { first.set_value(is_prepared); });

  EXPECT_TRUE(first.get_future().get());
  EXPECT_FALSE(is_prepared) << "only its own";
}

TEST(BlockingPool, RefusesOneTooManyAndLeavesItWithItsCaller) {
  BlockingPool pool(1);
  std::promise<void> gate;
  std::promise<void> at_gate;
  pool.start(1);
  pool.post([&] {
    at_gate.set_value();
    gate.get_future().wait();
  });
  at_gate.get_future().wait();
  int runs = 0;
  BlockingPool::Job waiting = [&] { ++runs; };
  BlockingPool::Job refused = [&] { ++runs; };

  EXPECT_TRUE(pool.try_post(waiting));
  EXPECT_FALSE(pool.try_post(refused));
  ASSERT_TRUE(refused);
  refused();
  gate.set_value();
  pool.stop();

  EXPECT_EQ(runs, 2);
}

TEST(BlockingPool, DestroysWhatItRefusedOnAThreadOfItsOwn) {
  struct Held {
    std::promise<std::thread::id>& destroyer;
    explicit Held(std::promise<std::thread::id>& p) : destroyer(p) {}
    Held(const Held&) = delete;
    ~Held() { destroyer.set_value(std::this_thread::get_id()); }
  };
  BlockingPool pool(0);
  pool.start(1);
  std::promise<std::thread::id> destroyer;
  std::promise<std::thread::id> late_destroyer;
  bool ran = false;
  BlockingPool::Job job = [held = std::make_unique<Held>(destroyer), &ran] { ran = true; };

  ASSERT_FALSE(pool.try_post(job));
  pool.drop(std::move(job));
  EXPECT_NE(destroyer.get_future().get(), std::this_thread::get_id());
  pool.stop();
  pool.drop([held = std::make_unique<Held>(late_destroyer)] {});

  EXPECT_EQ(late_destroyer.get_future().get(), std::this_thread::get_id());
  EXPECT_FALSE(ran);
}

TEST(BlockingPool, TakesNothingBeforeItsStartAndAfterItsStop) {
  BlockingPool pool;
  auto held = std::make_shared<int>(0);
  BlockingPool::Job job = [held] { ++*held; };

  EXPECT_FALSE(pool.try_post(job));
  pool.start(2);
  pool.stop();
  pool.stop();
  EXPECT_FALSE(pool.try_post(job));
  pool.post(std::move(job));

  EXPECT_EQ(*held, 0);
  EXPECT_EQ(held.use_count(), 1);
}

TEST(BlockingPool, GoesOnAfterAJobThatThrows) {
  BlockingPool pool;
  bool ran = false;
  pool.start(1);

  pool.post([] { throw std::runtime_error("no disk"); });
  pool.post([&] { ran = true; });
  pool.stop();

  EXPECT_TRUE(ran);
}

}  // namespace
}  // namespace quern
