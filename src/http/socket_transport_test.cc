// What a transport must not miss: by a connection without threads, and through a whole server.

#include "http/socket_transport.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "http/connection.h"
#include "http/io_thread_fixture.h"
#include "http/raw_client.h"
#include "http/server_state.h"

namespace quern::http {
namespace {

using std::chrono::milliseconds;

/// A whole connection over a socket whose peer is the test, without threads.
class TcpTransportTest : public testing::Test {
 protected:
  void TearDown() override {
    const auto connections = io_->connections();
    for (const auto& connection : connections) connection->close();
    io_->finish();
    io_->poll();
  }

  void open() {
    auto transport = make_tcp_transport(std::move(pair_.ours), io_->sockets());
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

  std::shared_ptr<IoThread> io_ = make_io_thread();
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
  // Two heads of three quarters of the read buffer each: the first read fills it and leaves half a head.
  std::string head = "GET / HTTP/1.1\r\nHost: quern\r\nX-Filler: ";
  const std::string end = "\r\n\r\n";
  head += std::string((kReadBufferBytes * 3 / 4) - head.size() - end.size(), 'x') + end;
  pair_.send(head + head);
  io_->poll();
  const std::string answers = received();
  EXPECT_NE(answers.find("answered"), answers.rfind("answered"));
  EXPECT_EQ(state_->connections.get(), 1U);
}

/// Holds its I/O thread up at /block.
struct HeldUp {
  Signal is_held;
  std::promise<void> go_on;

  void handle(Exchange exchange) {
    if (exchange.request().path == "/block") {
      is_held.set();
      go_on.get_future().wait();
    }
    std::move(exchange).send(text_response("answered"));
  }
};

// recv() stops at the urgent mark: a short read, and yet more is there.
TEST(SocketTransport, ReadsOnBehindUrgentData) {
  HeldUp held;
  ServerOptions options{.threads = 1};
  options.head_timeout = milliseconds(2'000);
  TestServer server([&](Exchange exchange) { held.handle(std::move(exchange)); }, options);
  RawClient client = server.connect();
  ASSERT_EQ(client.ask(get("/")).status, 200U);
  RawClient blocker = server.connect();
  blocker.send(get("/block"));
  ASSERT_TRUE(held.is_held.wait());
  client.send("GET / HTTP/1.1\r\nHost: h\r\n");
  ::send(client.fd(), "!", 1, MSG_OOB);
  client.send("X: y\r\n\r\n");
  std::this_thread::sleep_for(milliseconds(50));
  held.go_on.set_value();
  EXPECT_EQ(blocker.read_answer().status, 200U);
  EXPECT_EQ(client.read_answer().status, 200U);
}

TEST(SocketTransport, ReadsABodyBehindUrgentData) {
  HeldUp held;
  ServerOptions options{.threads = 1};
  options.body_timeout = milliseconds(2'000);
  TestServer server(
      [&](Exchange exchange) {
        if (exchange.request().path == "/block") return held.handle(std::move(exchange));
        echo(std::move(exchange));
      },
      options);
  RawClient client = server.connect();
  ASSERT_EQ(client.ask(get("/")).status, 200U);
  RawClient blocker = server.connect();
  blocker.send(get("/block"));
  ASSERT_TRUE(held.is_held.wait());
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc");
  ::send(client.fd(), "!", 1, MSG_OOB);
  client.send("def");
  std::this_thread::sleep_for(milliseconds(50));
  held.go_on.set_value();
  EXPECT_EQ(client.read_answer().body, "POST / abcdef");
}

// "requests which have arrived by now are seen before their connections count as idle"
TEST(SocketTransport, AnswersAllRequestsThatHaveArrivedAtAStop) {
  HeldUp held;
  TestServer server([&](Exchange exchange) { held.handle(std::move(exchange)); }, {.threads = 1});
  std::vector<RawClient> clients;
  clients.reserve(400);
  for (int i = 0; i < 400; ++i) {
    clients.push_back(server.connect());
    ASSERT_EQ(clients.back().ask(get("/")).status, 200U);
  }
  RawClient blocker = server.connect();
  blocker.send(get("/block"));
  ASSERT_TRUE(held.is_held.wait());
  for (RawClient& client : clients) client.send(get("/arrived"));
  std::this_thread::sleep_for(milliseconds(50));
  server->stop_accepting();
  held.go_on.set_value();
  int answered = 0;
  for (RawClient& client : clients) answered += client.read_answer().status == 200U ? 1 : 0;
  EXPECT_EQ(answered, 400);
}

// What was answered before must not go with the connection.
TEST(SocketTransport, SendsTheAnswerBeforeACutBody) {
  Signal gone;
  TestServer server([&](Exchange exchange) {
    if (exchange.request().path != "/watched") return echo(std::move(exchange));
    auto kept = std::make_shared<std::optional<Exchange>>(std::move(exchange));
    (*kept)->on_disconnect([kept, &gone] {
      std::move(**kept).send(text_response("watched"));
      gone.set();
    });
  });
  RawClient client = server.connect();
  client.send(get("/watched") + "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc");
  client.end_sending();
  EXPECT_TRUE(gone.wait());
  EXPECT_EQ(client.read_answer().body, "watched");
}

}  // namespace
}  // namespace quern::http
