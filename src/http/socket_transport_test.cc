// What a transport must not miss, seen through a whole server.

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <optional>
#include <vector>

#include "http/raw_client.h"
#include "http/server.h"

namespace quern::http {
namespace {

using std::chrono::milliseconds;

/// A server with one I/O thread that can be held up.
struct HeldUp {
  Signal is_held;
  std::promise<void> go_on;
  std::atomic<int> handled = 0;

  void handle(Exchange exchange) {
    if (exchange.request().path == "/block") {
      is_held.set();
      go_on.get_future().wait();
    }
    ++handled;
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

// The same with a body that is never seen whole, and the end of input behind.
TEST(SocketTransport, ReadsABodyBehindUrgentData) {
  HeldUp held;
  ServerOptions options{.threads = 1};
  options.body_timeout = milliseconds(2'000);
  std::atomic<int> holds = 0;
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
