#include "http/ready_set.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "http/io_thread_fixture.h"

namespace quern::http {
namespace {

struct Socket : ReadySet::Member {
  explicit Socket(ReadySet& its_set, SocketPair its_pair = {})
      : set(its_set), pair(std::move(its_pair)) {
    EXPECT_TRUE(set.add(pair.ours.fd(), *this));
  }
  ~Socket() { set.remove(pair.ours.fd(), *this); }

  void on_ready(std::uint32_t events) override {
    told.push_back(events & ~std::uint32_t{EPOLLOUT});
    if (then) std::exchange(then, nullptr)();
  }

  ReadySet& set;
  SocketPair pair;
  std::vector<std::uint32_t> told;
  std::move_only_function<void()> then;
};

class ReadySetTest : public testing::Test {
 protected:
  void TearDown() override {
    io_->finish();
    io_->poll();
  }

  /// A socket that has been told of its room to write.
  std::unique_ptr<Socket> add() {
    auto socket = std::make_unique<Socket>(io_->sockets());
    io_->poll();
    socket->told.clear();
    return socket;
  }

  std::shared_ptr<IoThread> io_ = make_io_thread();
};

using Told = std::vector<std::uint32_t>;

TEST_F(ReadySetTest, TellsOncePerArrival) {
  const auto socket = add();
  socket->pair.send("a");
  io_->poll();
  io_->poll();
  EXPECT_EQ(socket->told, Told{EPOLLIN});

  socket->pair.send("b");  // though "a" was not read
  io_->poll();
  EXPECT_EQ(socket->told, (Told{EPOLLIN, EPOLLIN}));
}

TEST_F(ReadySetTest, TellsOfWhatCameBeforeTheSocketWasAdded) {
  SocketPair pair;
  pair.send("early");
  Socket socket(io_->sockets(), std::move(pair));
  io_->poll();
  EXPECT_EQ(socket.told, Told{EPOLLIN});
}

TEST_F(ReadySetTest, TellsOfTheEndTogetherWithTheLastBytes) {
  const auto socket = add();
  socket->pair.send("last");
  socket->pair.end_sending();
  io_->poll();
  EXPECT_EQ(socket->told, Told{EPOLLIN | EPOLLRDHUP});
}

TEST_F(ReadySetTest, TellsNothingToWhoWasRemovedByAnotherOfTheSameBatch) {
  const auto first = add();
  auto second = add();
  first->then = [&] { second = nullptr; };
  first->pair.send("1");
  second->pair.send("2");
  io_->poll();  // would use freed memory
  EXPECT_EQ(first->told, Told{EPOLLIN});
}

TEST_F(ReadySetTest, TellsTheOthersWhenOneThrows) {
  const auto first = add();
  const auto second = add();
  first->then = [] { throw std::runtime_error("thrown by a member"); };
  first->pair.send("1");
  second->pair.send("2");
  io_->poll();
  EXPECT_EQ(second->told, Told{EPOLLIN});

  first->pair.send("3");
  io_->poll();
  EXPECT_EQ(first->told, (Told{EPOLLIN, EPOLLIN}));
}

TEST_F(ReadySetTest, LetsTheContextEndThoughSocketsAreOpen) {
  const auto socket = add();
  EXPECT_FALSE(io_->context().stopped());
  io_->finish();
  io_->poll();
  EXPECT_TRUE(io_->context().stopped());
}

TEST_F(ReadySetTest, SaysWhenItCannotTakeASocket) {
  struct Nobody : ReadySet::Member {
    void on_ready(std::uint32_t) override {}
  } nobody;
  const FileHandle file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_FALSE(io_->sockets().add(file.fd(), nobody));
}

TEST_F(ReadySetTest, TellsMoreThanOneBatchHolds) {
  std::vector<std::unique_ptr<Socket>> sockets;
  for (int i = 0; i < 300; ++i) sockets.push_back(add());
  for (const auto& socket : sockets) socket->pair.send("x");
  io_->poll();
  for (const auto& socket : sockets) EXPECT_EQ(socket->told, Told{EPOLLIN});
}

}  // namespace
}  // namespace quern::http
