#include "http/io_thread.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/delayed_wakes.h"
#include "http/io_thread_fixture.h"

namespace quern::http {
namespace {

class IoThreadTest : public testing::Test {
 protected:
  void end() const {
    io_->finish();
    io_->join();
  }

  std::shared_ptr<IoThread> io_ = make_io_thread();
};

TEST_F(IoThreadTest, RunsWhatIsPostedInItsOrder) {
  std::vector<int> ran;
  io_->start();

  for (int i = 0; i < 100; ++i) io_->post([&ran, i] { ran.push_back(i); });
  end();

  ASSERT_EQ(ran.size(), 100U);
  EXPECT_TRUE(std::ranges::is_sorted(ran));
}

TEST_F(IoThreadTest, IsWokenAtTheEndOfTheCallersDelayedWakes) {
  std::atomic<int> ran = 0;
  io_->start();
  {
    const DelayedWakes wakes;
    for (int i = 0; i < 3; ++i) io_->post([&] { ++ran; });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(ran, 0);
  }
  end();
  EXPECT_EQ(ran, 3);
}

TEST_F(IoThreadTest, GoesOnAfterAnException) {
  std::atomic<int> ran = 0;
  io_->start();
  {
    const DelayedWakes wakes;
    io_->post([&] { ++ran; });
    io_->post([] { throw std::runtime_error("one"); });
    io_->post([&] { ++ran; });
  }
  while (ran < 2) std::this_thread::yield();  // although nothing else is posted

  io_->post([&] { ++ran; });
  end();

  EXPECT_EQ(ran, 3);
}

TEST_F(IoThreadTest, RunsWhatIsPostedWhileItFinishes) {
  static constexpr int kPosts = 20'000;
  int ran = 0;
  IoThread::Timer open_operation(io_->context(), std::chrono::hours(1));
  open_operation.async_wait([](boost::system::error_code) {});
  io_->start();

  for (int i = 0; i < kPosts; ++i) {
    if (i == kPosts / 2) io_->finish();
    io_->post([&] { ++ran; });
  }
  io_->post([&] { open_operation.cancel(); });
  io_->join();

  EXPECT_EQ(ran, kPosts);
}

// The last that held it lets go between.
TEST_F(IoThreadTest, LivesUntilItIsWoken) {
  bool ran = false;
  auto io = make_io_thread();
  const std::weak_ptr<IoThread> alive = io;
  {
    const DelayedWakes wakes;
    io->post([&] { ran = true; });
    io->poll();
    EXPECT_FALSE(ran);
    io.reset();
    EXPECT_FALSE(alive.expired());
  }
  EXPECT_TRUE(alive.expired());
}

}  // namespace
}  // namespace quern::http
