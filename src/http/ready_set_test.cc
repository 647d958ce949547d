#include "http/ready_set.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/connection.h"
#include "http/file_handle.h"
#include "http/io_thread.h"
#include "http/server_state.h"
#include "http/socket_transport.h"

namespace quern::http {
namespace {

/// Two connected sockets, of which `ours` does not block.
struct SocketPair {
  SocketPair() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    ours = FileHandle(ends[0]);
    peer = FileHandle(ends[1]);
  }
  void send(std::string_view bytes) const {
    EXPECT_EQ(::send(peer.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL), std::ssize(bytes));
  }
  void end_sending() const { ::shutdown(peer.fd(), SHUT_WR); }

  FileHandle ours;
  FileHandle peer;
};

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
    const auto connections = io_->connections();
    for (const auto& connection : connections) connection->close();
    io_->finish();
    io_->poll();
  }

  static std::shared_ptr<IoThread> make_io() {
    Deadlines::Durations durations;
    durations.fill(std::chrono::hours(1));
    return std::make_shared<IoThread>(durations);
  }
  /// A socket that has been told of its room to write.
  std::unique_ptr<Socket> add() {
    auto socket = std::make_unique<Socket>(io_->sockets());
    io_->poll();
    socket->told.clear();
    return socket;
  }

  std::shared_ptr<IoThread> io_ = make_io();
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

TEST_F(ReadySetTest, LetsTheContextEndThoughASocketIsReady) {
  const auto socket = add();
  io_->finish();
  socket->pair.send("x");  // seen together with the finish, and behind it
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

/// A whole connection over a socket whose peer is the test, without threads.
class TcpTransportTest : public ReadySetTest {
 protected:
  void open() {
    TcpSocket socket(io_->context());
    socket.assign(boost::asio::ip::tcp::v4(), std::exchange(pair_.ours, FileHandle()).release());
    auto transport = make_tcp_transport(std::move(socket), io_->sockets());
    ASSERT_TRUE(transport);
    state_->connections.try_add(1);
    auto connection = std::make_shared<Connection>(io_, state_, std::move(transport), "127.0.0.1");
    io_->add(connection);
    connection->open();
  }
  std::string received() const {
    std::string text(64 * 1024, '\0');
    const ssize_t bytes = ::recv(pair_.peer.fd(), text.data(), text.size(), 0);
    text.resize(static_cast<std::size_t>(std::max<ssize_t>(bytes, 0)));
    return text;
  }

  SocketPair pair_;
  Metrics metrics_;
  std::shared_ptr<ServerState> state_ = std::make_shared<ServerState>(
      ServerOptions{}, [](Exchange exchange) { std::move(exchange).send({.body = "answered"}); },
      metrics_);
};

TEST_F(TcpTransportTest, SeesAnEndThatCameTogetherWithTheRequest) {
  open();
  pair_.send("GET / HTTP/1.1\r\nHost: quern\r\n\r\n");
  pair_.end_sending();
  io_->poll();
  EXPECT_TRUE(received().ends_with("answered"));
  EXPECT_EQ(state_->connections.get(), 0U);
  EXPECT_EQ(received(), "");  // the end
}

TEST_F(TcpTransportTest, ReadsOnWhenItsMemoryWasFilled) {
  open();
  // Two heads which fill the read buffer to its last byte, and what is left of the second.
  std::string head = "GET / HTTP/1.1\r\nHost: quern\r\nX-Filler: ";
  const std::string end = "\r\n\r\n";
  head += std::string((kReadBufferBytes * 3 / 4) - head.size() - end.size(), 'x') + end;
  pair_.send(head + head);
  io_->poll();
  const std::string answers = received();
  EXPECT_NE(answers.find("answered"), answers.rfind("answered"));
  EXPECT_EQ(state_->connections.get(), 1U);
}

}  // namespace
}  // namespace quern::http
