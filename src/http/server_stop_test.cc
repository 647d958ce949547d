// How the server ends, and why it may not begin.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "http/raw_client.h"
#include "http/server.h"

namespace quern::http {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

TEST(ServerStop, FinishesAnswersUnderWayWhenItStopsAccepting) {
  Signal waiting;
  std::optional<Exchange> held;
  TestServer server([&](Exchange exchange) {
    if (exchange.request().path != "/hold") return echo(std::move(exchange));
    held.emplace(std::move(exchange));
    waiting.set();
  });
  RawClient idle = server.connect();
  EXPECT_EQ(idle.ask(get("/")).status, 200U);
  RawClient busy = server.connect();
  busy.send(get("/hold"));
  ASSERT_TRUE(waiting.wait());

  server->stop_accepting();
  server->stop_accepting();

  EXPECT_TRUE(idle.is_ended());
  EXPECT_EQ(server.connect().ask(get("/")).status, 0U);
  std::move(*held).send(text_response("held"));
  const RawAnswer answer = busy.read_answer();
  EXPECT_EQ(answer.body, "held");
  EXPECT_EQ(answer.header("Connection"), "close");
  EXPECT_TRUE(busy.is_ended());
}

TEST(ServerStop, ClosesEverythingWhenTheGraceIsOver) {
  Signal waiting;
  std::optional<Exchange> held;
  TestServer server([&](Exchange exchange) {
    held.emplace(std::move(exchange));
    waiting.set();
  });
  RawClient client = server.connect();
  client.send(get("/"));
  ASSERT_TRUE(waiting.wait());

  server->stop(milliseconds(10));
  server->stop(milliseconds(10));

  EXPECT_EQ(server->connections(), 0U);
  EXPECT_EQ(client.read_answer().status, 0U);
  // An answer that comes too late is dropped.
  std::move(*held).send(text_response("late"));
}

TEST(ServerStop, OutlivesNoOneButMayBeOutlivedByExchanges) {
  std::optional<Exchange> held;
  {
    Signal waiting;
    TestServer server([&](Exchange exchange) {
      held.emplace(std::move(exchange));
      waiting.set();
    });
    RawClient client = server.connect();
    client.send(get("/kept"));
    ASSERT_TRUE(waiting.wait());
    server->stop(milliseconds(0));
  }
  EXPECT_EQ(held->request().path, "/kept");
  held.reset();
}

TEST(ServerStop, SaysWhyItCannotStart) {
  Metrics metrics;
  TestServer taken(echo);
  const auto start = [&](ServerOptions options) {
    return Server(std::move(options), echo, metrics).start();
  };

  const auto in_use = start({.listen = "127.0.0.1:" + std::to_string(taken.port()), .threads = 1});
  ASSERT_FALSE(in_use.has_value());
  EXPECT_EQ(in_use.error().code, ErrorCode::unavailable);
  EXPECT_THAT(in_use.error().message, HasSubstr("Address already in use"));

  for (const auto* address : {"", "8080", "host:", ":80", "1.2.3.4:99999", "::1:80", "[::1]"}) {
    const auto bad = start({.listen = address, .threads = 1});
    ASSERT_FALSE(bad.has_value()) << address;
    EXPECT_EQ(bad.error().code, ErrorCode::invalid_argument) << address;
    EXPECT_THAT(bad.error().message, HasSubstr("host:port"));
  }

  const auto foreign = start({.listen = "203.0.113.1:0", .threads = 1});
  ASSERT_FALSE(foreign.has_value());
  EXPECT_EQ(foreign.error().code, ErrorCode::unavailable);
}

}  // namespace
}  // namespace quern::http
