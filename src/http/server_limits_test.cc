// Peers that are too slow, too large or too many.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "http/raw_client.h"
#include "http/server.h"
#include "testing/process_limit.h"

namespace quern::http {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

std::string post_head(std::size_t bytes) {
  return "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(bytes) + "\r\n\r\n";
}

TEST(ServerLimits, DoesNotAskForABodyThatIsTooLarge) {
  TestServer server(echo);
  RawClient client = server.connect();

  const RawAnswer answer = client.ask(
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\nExpect: 100-continue\r\n\r\n");

  EXPECT_EQ(answer.status, 413U);
  EXPECT_EQ(answer.header("Connection"), "close");
}

TEST(ServerLimits, RefusesBodiesOverTheLimitDeclaredOrNot) {
  TestServer server(echo);

  RawClient declared = server.connect();
  declared.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577\r\n\r\nsome");
  EXPECT_EQ(declared.read_answer().status, 413U);
  EXPECT_TRUE(declared.is_ended());

  RawClient undeclared = server.connect();
  undeclared.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "10000\r\n" + make_text(0x10000) + "\r\n";
  for (int i = 0; i < 16; ++i) undeclared.send(chunk);
  undeclared.send("1\r\n!\r\n");
  EXPECT_EQ(undeclared.read_answer().status, 413U);
  EXPECT_TRUE(undeclared.is_ended());
}

TEST(ServerLimits, LetsAPeerThatIsStillSendingReadTheRefusal) {
  TestServer server(echo);
  RawClient client = server.connect();
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\n");

  // More than the sockets' buffers hold: the server has to go on taking it.
  ASSERT_TRUE(client.send(make_text(5'000'000)));

  EXPECT_EQ(client.read_answer().status, 413U);
  EXPECT_TRUE(client.is_ended());
}

TEST(ServerLimits, TakesADeclaredBodyToItsEndBeforeTheRefusalIsRead) {
  TestServer refusing(echo);
  TestServer ignoring(ignore);
  const std::string piece = make_text(1 << 20);
  for (TestServer* server : {&refusing, &ignoring}) {
    RawClient client = server->connect();
    client.send(post_head(60 * piece.size()));

    for (int i = 0; i < 60; ++i) ASSERT_TRUE(client.send(piece)) << i;

    EXPECT_EQ(client.read_answer().status, server == &refusing ? 413U : 200U);
    EXPECT_TRUE(client.is_ended());
  }
}

TEST(ServerLimits, CutsOffAPeerThatEndsNeitherItsBodyNorItsSilence) {
  TestServer server(echo, {.linger_timeout = milliseconds(50)});

  RawClient silent = server.connect();
  silent.send(post_head(60 << 20) + "some");
  EXPECT_EQ(silent.read_answer().status, 413U);
  EXPECT_TRUE(eventually([&] { return server->connections() == 0; }));

  // More than was declared, and so of no body.
  RawClient endless = server.connect();
  endless.send(post_head(2 << 20));
  EXPECT_EQ(endless.read_answer().status, 413U);
  const std::string piece = make_text(1 << 20);
  EXPECT_TRUE(eventually([&] { return !endless.send(piece); }));
}

TEST(ServerLimits, WaitForARefusedBodyWhileItComesUntilTheServerStops) {
  constexpr milliseconds kLinger(800);
  TestServer server(echo, {.linger_timeout = kLinger});
  RawClient client = server.connect();
  client.send(post_head(60 << 20));
  EXPECT_EQ(client.read_answer().status, 413U);

  const auto later = std::chrono::steady_clock::now() + 2 * kLinger;
  while (std::chrono::steady_clock::now() < later) ASSERT_TRUE(client.send("x"));
  EXPECT_EQ(server->connections(), 1U);

  server->stop_accepting();
  EXPECT_TRUE(eventually([&] {
    client.send("x");
    return server->connections() == 0;
  }));
}

TEST(ServerLimits, SkipsSmallBodiesNobodyReadAndClosesOnLargeOnes) {
  TestServer server(ignore);

  RawClient small = server.connect();
  for (int i = 0; i < 3; ++i) {
    const RawAnswer answer = small.ask(post("/", make_text(60'000)));
    EXPECT_EQ(answer.body, "ignored");
    EXPECT_EQ(answer.header("Connection"), "");
  }
  EXPECT_EQ(small
                .ask("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
                     "chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
                .body,
            "ignored");
  EXPECT_EQ(small.ask(get("/")).body, "ignored");

  RawClient large = server.connect();
  large.send(post("/", make_text(70'000)));
  EXPECT_EQ(large.read_answer().header("Connection"), "close");
  EXPECT_TRUE(large.is_ended());

  RawClient endless = server.connect();
  endless.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_EQ(endless.read_answer().body, "ignored");
  for (int i = 0; i < 4; ++i) endless.send("8000\r\n" + make_text(0x8000) + "\r\n");
  EXPECT_TRUE(endless.is_ended());
}

TEST(ServerLimits, RefusesSlowHeadsAndCutsOffSilentPeers) {
  TestServer server(echo, {.head_timeout = milliseconds(50), .idle_timeout = milliseconds(50)});

  RawClient slow = server.connect();
  slow.send("GET / HTTP/1.1\r\nHost: h\r\n");
  EXPECT_EQ(slow.read_answer().status, 408U);
  EXPECT_TRUE(slow.is_ended());

  RawClient silent = server.connect();
  EXPECT_TRUE(silent.is_ended());

  RawClient idle = server.connect();
  EXPECT_EQ(idle.ask(get("/")).status, 200U);
  EXPECT_TRUE(idle.is_ended());
}

TEST(ServerLimits, RefusesSlowBodies) {
  TestServer server(echo, {.body_timeout = milliseconds(50)});

  RawClient by_length = server.connect();
  by_length.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf");
  EXPECT_EQ(by_length.read_answer().status, 408U);
  EXPECT_TRUE(by_length.is_ended());

  RawClient chunked = server.connect();
  chunked.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal");
  EXPECT_EQ(chunked.read_answer().status, 408U);
  EXPECT_TRUE(chunked.is_ended());
}

TEST(ServerLimits, CutsOffAPeerThatDoesNotReadItsAnswer) {
  TestServer server(
      [](Exchange exchange) {
        std::move(exchange).send(text_response(std::string(30 << 20, 'x')));
      },
      {.write_timeout = milliseconds(50)});
  RawClient client = server.connect(4096);
  client.send(get("/"));

  ASSERT_TRUE(eventually([&] { return server->connections() == 1; }));
  EXPECT_TRUE(eventually([&] { return server->connections() == 0; }));
}

double memory_held(TestServer& server) {
  return server.metrics()
      .gauge("quern_http_memory_bytes", "Large bodies and answers that are in memory now.")
      .value();
}

TEST(ServerLimits, RefusesLargeBodiesWhileOthersHaveTheMemory) {
  TestServer server(echo, {.memory_bytes_max = 1'000'000});
  const std::string body = make_text(900'000);
  RawClient first = server.connect();
  first.send(post_head(body.size()) + body.substr(0, 800'000));
  ASSERT_TRUE(eventually([&] { return memory_held(server) > 700'000; }));

  RawClient declared = server.connect();
  declared.send(post_head(500'000));
  EXPECT_EQ(declared.read_answer().status, 503U);
  EXPECT_TRUE(declared.is_ended());
  RawClient chunked = server.connect();
  chunked.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n7a120\r\n");
  chunked.send(make_text(500'000));
  EXPECT_EQ(chunked.read_answer().status, 503U);
  EXPECT_TRUE(chunked.is_ended());
  EXPECT_THAT(server.metrics().render(), HasSubstr("quern_http_memory_refusals_total 2"));
  RawClient small = server.connect();
  EXPECT_EQ(small.ask(post("/", make_text(60'000))).status, 200U);

  first.send(body.substr(800'000));
  EXPECT_EQ(first.read_answer().body, "POST / " + body);
  EXPECT_EQ(memory_held(server), 0);
  EXPECT_EQ(first.ask(post("/", body)).status, 200U);
}

/// As echo; the target tells whose request it is.
void echo_for_account(Exchange exchange) {
  const Account account = std::hash<std::string_view>()(exchange.request().target);
  std::move(exchange).read_body(
      kEchoBodyMax,
      [](Exchange read, Result<void> result) {
        Response response = text_response(std::string(read.request().body));
        if (!result) response.status = 503;
        std::move(read).send(std::move(response));
      },
      account);
}

TEST(ServerLimits, LeaveHalfOfTheMemoryToOthers) {
  TestServer server(echo_for_account, {.memory_bytes_max = 1'000'000});
  const std::string part = make_text(300'000);
  RawClient first = server.connect();
  first.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 700000\r\n\r\n" + part);
  ASSERT_TRUE(eventually([&] { return memory_held(server) > 200'000; }));

  RawClient second = server.connect();
  EXPECT_EQ(second.ask(post("/a", make_text(400'000))).status, 503U);
  RawClient other = server.connect();
  EXPECT_EQ(other.ask(post("/b", make_text(700'000))).status, 200U) << "its only one";

  first.send(make_text(400'000));
  EXPECT_EQ(first.read_answer().status, 200U);
  EXPECT_EQ(first.ask(post("/a", make_text(400'000))).status, 200U);
}

TEST(ServerLimits, TakesABodyBeyondTheMemoryOfAllFromOneWhoIsAlone) {
  TestServer server(echo, {.memory_bytes_max = 1});
  RawClient client = server.connect();

  EXPECT_EQ(client.ask(post("/", make_text(900'000))).status, 200U);
  EXPECT_EQ(memory_held(server), 0);
}

TEST(ServerLimits, GivesBackTheMemoryOfABodyThatBreaksOff) {
  TestServer server(echo, {.memory_bytes_max = 1'000'000, .body_timeout = milliseconds(200)});
  const std::string part = make_text(500'000);
  RawClient leaves = server.connect();
  leaves.send(post_head(900'000) + part);
  ASSERT_TRUE(eventually([&] { return memory_held(server) > 0; }));
  leaves.reset();
  EXPECT_TRUE(eventually([&] { return memory_held(server) == 0; }));

  RawClient slow = server.connect();
  slow.send(post_head(900'000) + part);
  EXPECT_EQ(slow.read_answer().status, 408U);
  EXPECT_EQ(memory_held(server), 0);
}

TEST(ServerLimits, HoldsTheMemoryOfAnAnswerUntilItIsTaken) {
  TestServer server(
      [](Exchange exchange) {
        Response response = text_response(std::string(30 << 20, 'x'));
        auto hold = exchange.hold(response.body.size());
        if (hold) {
          response.hold = std::move(*hold);
        } else {
          response = text_response("");
          response.status = 503;
        }
        std::move(exchange).send(std::move(response));
      },
      {.memory_bytes_max = 40 << 20});
  RawClient unread = server.connect(4096);
  unread.send(get("/"));
  ASSERT_TRUE(eventually([&] { return memory_held(server) > 0; }));

  RawClient other = server.connect();
  EXPECT_EQ(other.ask(get("/")).status, 503U);
  unread.close();
  ASSERT_TRUE(eventually([&] { return memory_held(server) == 0; }));
  EXPECT_EQ(other.ask(get("/")).status, 200U);
  EXPECT_TRUE(eventually([&] { return memory_held(server) == 0; }));
  EXPECT_EQ(other.ask(get("/")).status, 200U);
}

TEST(ServerLimits, ClosesConnectionsOverTheLimitAtOnce) {
  TestServer server(echo, {.connections_max = 3});
  std::vector<RawClient> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(server.connect());
    ASSERT_EQ(clients.back().ask(get("/")).status, 200U);
  }

  RawClient extra = server.connect();
  EXPECT_EQ(extra.ask(get("/")).status, 0U);
  EXPECT_EQ(clients[0].ask(get("/")).status, 200U);
  EXPECT_THAT(server.metrics().render(), HasSubstr("quern_http_connections 3"));
  EXPECT_THAT(server.metrics().render(), HasSubstr("quern_http_connections_refused_total 1"));
}

TEST(ServerLimits, ServesManyConnectionsAtOnce) {
  TestServer server(echo);
  std::vector<RawClient> clients;
  for (int i = 0; i < 500; ++i) {
    clients.push_back(server.connect());
    ASSERT_TRUE(clients.back().is_connected());
  }
  for (int round = 0; round < 3; ++round) {
    for (RawClient& client : clients) client.send(post("/", "hello"));
    for (RawClient& client : clients) ASSERT_EQ(client.read_answer().body, "POST / hello");
  }
  EXPECT_EQ(server->connections(), 500U);
}

TEST(ServerLimits, DoNotLetBytesOfAHeadBuyTime) {
  TestServer server(echo, {.head_bytes_max = 64 << 20, .head_timeout = milliseconds(100)});
  RawClient client = server.connect();
  client.send("GET / HTTP/1.1\r\nHost: h\r\nX: ");

  // One byte after another, until the server has had enough. A deadline that each byte renewed would never pass.
  char byte;
  EXPECT_TRUE(eventually([&] {
    client.send("x");
    return ::recv(client.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
  }));

  EXPECT_EQ(client.read_answer().status, 408U);
}

TEST(ServerLimits, LetPeersWaitWhileThereIsNoDescriptorForThem) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizers' own checks open pipes; runs under ThreadSanitizer";
#endif
  TestServer server(echo);
  Counter& failures = server.metrics().counter("quern_http_accept_failures_total", "");
  std::optional<RawClient> client;
  {
    const DescriptorsLeft one(1);
    client.emplace(server.port());
    ASSERT_TRUE(client->is_connected());
    client->send(get("/a"));
    EXPECT_TRUE(eventually([&] { return failures.value() > 0; }));
  }
  EXPECT_EQ(client->read_answer().body, "GET /a ");
}

}  // namespace
}  // namespace quern::http
