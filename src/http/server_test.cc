#include "http/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "http/raw_client.h"

namespace quern::http {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::StartsWith;

TEST(Server, AnswersWithItsOwnHeadersAndKeepsTheConnection) {
  TestServer server(echo);
  RawClient client = server.connect();

  for (int i = 0; i < 3; ++i) {
    const RawAnswer answer = client.ask(get("/a"));
    EXPECT_EQ(answer.status, 200U);
    EXPECT_EQ(answer.body, "GET /a ");
    EXPECT_EQ(answer.header("Server"), "quern");
    EXPECT_EQ(answer.header("Content-Length"), "7");
    EXPECT_EQ(answer.header("Content-Type"), "text/plain");
    EXPECT_THAT(answer.header("Date"), testing::MatchesRegex("..., .. ... .... ..:..:.. GMT"));
    EXPECT_EQ(answer.header("Connection"), "");
  }
  EXPECT_EQ(server->connections(), 1U);
}

TEST(Server, TellsTheHandlerWhoAsks) {
  TestServer server([](Exchange exchange) {
    const Request& request = exchange.request();
    std::string body = std::string(request.peer_ip) + (request.tls ? " tls" : " plain");
    std::move(exchange).send(text_response(std::move(body)));
  });

  EXPECT_EQ(server.connect().ask(get("/")).body, "127.0.0.1 plain");
  EXPECT_THAT(server->url(), StartsWith("http://127.0.0.1:"));
}

void tell_local(Exchange exchange) {
  std::string local(exchange.request().local);
  std::move(exchange).send(text_response(std::move(local)));
}

TEST(Server, TellsWhereARequestCameToThatNamesNoHost) {
  TestServer server(tell_local);
  const std::string address = "127.0.0.1:" + std::to_string(server.port());

  EXPECT_EQ(server.connect().ask("GET / HTTP/1.0\r\n\r\n").body, address);
  EXPECT_EQ(server.connect().ask("GET / HTTP/1.1\r\nHost:\r\n\r\n").body, address);
  EXPECT_EQ(server.connect().ask(get("/")).body, "");
}

TEST(Server, TellsAnAddressOfIpv4AsOneThoughItListensByIpv6) {
  Metrics metrics;
  Server server({.listen = "[::]:0", .threads = 1}, tell_local, metrics);
  if (!server.start()) GTEST_SKIP() << "no IPv6 on this machine";
  const std::string port = server.url().substr(server.url().rfind(':') + 1);
  RawClient client(static_cast<std::uint16_t>(std::stoul(port)));

  EXPECT_EQ(client.ask("GET / HTTP/1.0\r\n\r\n").body, "127.0.0.1:" + port);
}

TEST(Server, EndsTheConnectionWhenAskedTo) {
  TestServer server(echo);
  struct Case {
    std::string request;
    std::string connection;
    bool ends;
  };
  const Case cases[] = {
      {get("/", "Connection: close\r\n"), "close", true},
      {"GET / HTTP/1.0\r\n\r\n", "close", true},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "keep-alive", false},
  };
  for (const Case& c : cases) {
    RawClient client = server.connect();
    const RawAnswer answer = client.ask(c.request);
    EXPECT_EQ(answer.status, 200U);
    EXPECT_EQ(answer.header("Connection"), c.connection) << c.request;
    if (c.ends) {
      EXPECT_TRUE(client.is_ended()) << c.request;
    } else {
      EXPECT_EQ(client.ask(c.request).status, 200U);
    }
  }
}

TEST(Server, EndsTheConnectionWhenTheHandlerSaysSo) {
  TestServer server([](Exchange exchange) {
    Response response = text_response("bye");
    response.close = true;
    std::move(exchange).send(std::move(response));
  });
  RawClient client = server.connect();

  EXPECT_EQ(client.ask(get("/")).header("Connection"), "close");
  EXPECT_TRUE(client.is_ended());
}

TEST(Server, AnswersPipelinedRequestsInOrder) {
  TestServer server(echo);
  RawClient client = server.connect();
  std::string requests;
  constexpr int kRequests = 2'000;
  for (int i = 0; i < kRequests; ++i) {
    requests += i % 3 == 0 ? post("/" + std::to_string(i), make_text(static_cast<std::size_t>(i)))
                           : get("/" + std::to_string(i));
  }

  std::thread sender([&] { client.send(requests); });

  for (int i = 0; i < kRequests; ++i) {
    const std::string expected =
        i % 3 == 0 ? "POST /" + std::to_string(i) + " " + make_text(static_cast<std::size_t>(i))
                   : "GET /" + std::to_string(i) + " ";
    ASSERT_EQ(client.read_answer().body, expected);
  }
  sender.join();
}

TEST(Server, KeepsTheOrderWhenAnswersComeFromOtherThreads) {
  std::mutex mutex;
  std::vector<std::thread> threads;
  TestServer server([&](Exchange exchange) {
    const std::scoped_lock lock(mutex);
    threads.emplace_back([exchange = std::move(exchange)]() mutable {
      std::string target(exchange.request().target);
      std::move(exchange).send(text_response(std::move(target)));
    });
  });
  RawClient client = server.connect();
  std::string requests;
  for (int i = 0; i < 50; ++i) requests += get("/" + std::to_string(i));
  client.send(requests);

  for (int i = 0; i < 50; ++i) EXPECT_EQ(client.read_answer().body, "/" + std::to_string(i));
  const std::scoped_lock lock(mutex);
  for (std::thread& thread : threads) thread.join();
}

TEST(Server, LetsOneConnectionsHandlerAnswerAnother) {
  std::mutex mutex;
  std::optional<Exchange> held;
  TestServer server(
      [&](Exchange exchange) {
        if (exchange.request().target == "/hold") {
          const std::scoped_lock lock(mutex);
          held.emplace(std::move(exchange));
          return;
        }
        {
          const std::scoped_lock lock(mutex);
          std::move(*held).send(text_response("released"));
          held.reset();
        }
        std::move(exchange).send(text_response("done"));
      },
      {.threads = 1});
  RawClient waiter = server.connect();
  RawClient releaser = server.connect();
  waiter.send(get("/hold"));
  // The same connection twice, so that the hold was certainly handled before.
  while (server->connections() < 2) std::this_thread::yield();
  for (bool is_held = false; !is_held;) {
    const std::scoped_lock lock(mutex);
    is_held = held.has_value();
  }

  EXPECT_EQ(releaser.ask(get("/release")).body, "done");
  EXPECT_EQ(waiter.read_answer().body, "released");
}

TEST(Server, ReadsBodiesOfEverySizeByLengthAndInChunks) {
  TestServer server(echo);
  RawClient client = server.connect();
  for (const std::size_t bytes :
       {0U, 1U, 100U, 3'900U, 4'096U, 5'000U, 64U << 10U, 300'000U, 1U << 20U}) {
    const std::string body = make_text(bytes);
    EXPECT_EQ(client.ask(post("/p", body)).body, "POST /p " + body) << bytes;

    std::string chunked = "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (std::size_t at = 0; at < bytes; at += 1'000) {
      const std::string part = body.substr(at, 1'000);
      char size[32];
      std::snprintf(size, sizeof size, "%zx;x=y\r\n", part.size());
      chunked += size + part + "\r\n";
    }
    chunked += "0\r\nTrailer: ignored\r\n\r\n";
    EXPECT_EQ(client.ask(chunked).body, "POST /c " + body) << bytes;
  }
}

TEST(Server, ReadsRequestsThatComeByteByByte) {
  TestServer server(echo);
  RawClient client = server.connect();
  const std::string requests = post("/a", "hello") +
                               "POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" +
                               get("/c");
  for (const char c : requests) client.send(std::string_view(&c, 1));

  EXPECT_EQ(client.read_answer().body, "POST /a hello");
  EXPECT_EQ(client.read_answer().body, "POST /b abcde");
  EXPECT_EQ(client.read_answer().body, "GET /c ");
}

TEST(Server, KeepsTheHeadWhileALargeBodyComesIn) {
  TestServer server([](Exchange exchange) {
    const std::string_view header = exchange.request().headers.back().value;
    std::move(exchange).read_body(kEchoBodyMax, [header](Exchange read, Result<void>) {
      std::move(read).send(
          text_response(std::string(header) + std::to_string(read.request().body.size())));
    });
  });
  RawClient client = server.connect();

  EXPECT_EQ(client.ask(post("/", make_text(500'000), "X-Kept: kept\r\n")).body, "kept500000");
}

TEST(Server, SendsHeadAndNoBodyToAHead) {
  TestServer server(echo);
  RawClient client = server.connect();
  client.send("HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n");

  const RawAnswer answer = client.read_answer(true);
  EXPECT_EQ(answer.status, 200U);
  EXPECT_EQ(answer.header("Content-Length"), "8");  // "HEAD /a "
  EXPECT_EQ(client.ask(get("/b")).body, "GET /b ");
}

TEST(Server, SendsNoLengthWithStatusesThatHaveNoBody) {
  TestServer server([](Exchange exchange) {
    Response response;
    response.status = exchange.request().path == "/204" ? 204 : 304;
    response.body = "never sent";
    std::move(exchange).send(std::move(response));
  });
  RawClient client = server.connect();

  for (const auto* target : {"/204", "/304", "/204"}) {
    const RawAnswer answer = client.ask(get(target));
    EXPECT_EQ(answer.status, static_cast<unsigned>(std::stoul(target + 1)));
    EXPECT_EQ(answer.header("Content-Length"), "");
    EXPECT_EQ(answer.body, "");
  }
}

TEST(Server, SendsContinueOnlyWhenTheBodyIsWanted) {
  TestServer server([](Exchange exchange) {
    exchange.request().path == "/read" ? echo(std::move(exchange)) : ignore(std::move(exchange));
  });
  const std::string head =
      " HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

  RawClient wanted = server.connect();
  wanted.send("POST /read" + head);
  EXPECT_EQ(wanted.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(wanted.ask("hello").body, "POST /read hello");
  EXPECT_EQ(wanted.ask(get("/read")).body, "GET /read ");

  // The body may or may not follow now, so the connection cannot go on.
  RawClient unwanted = server.connect();
  const RawAnswer answer = unwanted.ask("POST /ignore" + head);
  EXPECT_EQ(answer.body, "ignored");
  EXPECT_EQ(answer.header("Connection"), "close");
  EXPECT_EQ(unwanted.read_to_end(), "");

  RawClient strange = server.connect();
  EXPECT_EQ(strange.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: lunch\r\n\r\n")
                .status,
            417U);
}

TEST(Server, AnswersAMalformedRequestAndEndsTheConnection) {
  ServerOptions options;
  options.protocol_error = [](const Request* request, unsigned status, std::string_view reason) {
    Response response;
    response.add_header("Asked-For", request != nullptr ? request->path : "nothing");
    response.add_header("Id", request != nullptr ? request->find_header("id").value_or("") : "");
    response.status = status;
    response.add_header("Content-Type", "application/json");
    response.body = "{\"detail\":\"" + std::string(reason) + "\"}";
    return response;
  };
  TestServer server(echo, std::move(options));
  struct Case {
    std::string bytes;
    unsigned status;
    std::string asked_for = "";
    std::string id = "";
  };
  const Case cases[] = {
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nId: 1\r\n\r\n", 400, "", "1"},
      {"GET / HTTP/1.1\nHost: h\n\n", 400},
      {"GET / HTTP/3.0\r\nHost: h\r\nId: 2\r\n\r\n", 505, "", "2"},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\nId: 3\r\n\r\n", 400,
       "", "3"},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
       400},
      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
      {"POST /chunks HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400,
       "/chunks"},
      {"GET /" + std::string(20'000, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n", 414},
      {get("/", "Id: 4\r\nX: " + std::string(20'000, 'a') + "\r\n"), 431, "", "4"},
      {std::string(1'000, '\xff') + "\r\n\r\n", 400, "nothing"},
  };
  double errors = 0;
  for (const Case& c : cases) {
    RawClient client = server.connect();
    // Its predecessor on the connection is answered first, and what follows is not looked at.
    client.send(get("/first") + c.bytes + get("/smuggled"));
    EXPECT_EQ(client.read_answer().body, "GET /first ");
    const RawAnswer answer = client.read_answer();
    EXPECT_EQ(answer.status, c.status) << c.bytes.substr(0, 100);
    EXPECT_EQ(answer.header("Connection"), "close");
    EXPECT_EQ(answer.header("Asked-For"), c.asked_for);
    EXPECT_EQ(answer.header("Id"), c.id) << c.bytes.substr(0, 100);
    EXPECT_THAT(answer.body, StartsWith("{\"detail\":\""));
    EXPECT_EQ(client.read_to_end(), "");
    ++errors;
  }
  const std::string metrics = server.metrics().render();
  EXPECT_THAT(metrics, HasSubstr("quern_http_protocol_errors_total{status=\"414\"} 1"));
  EXPECT_THAT(metrics, HasSubstr("quern_http_connections_accepted_total 11"));
}

TEST(Server, RefusesAHeadWithoutABody) {
  TestServer server(echo);
  const std::string start = "HEAD / HTTP/1.1\r\nHost: h\r\n";
  const std::string cases[] = {
      "HEAD / HTTP/1.1\r\n\r\n",
      "HEAD / HTTP/3.0\r\nHost: h\r\n\r\n",
      "HEAD /" + std::string(20'000, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n",
      start + "Expect: lunch\r\n\r\n",
      start + "Transfer-Encoding: gzip\r\n\r\n",
      start + "Content-Length: x\r\n\r\n",
      start + "X: " + std::string(20'000, 'a') + "\r\n\r\n",
      start + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
  };
  for (const std::string& bytes : cases) {
    const RawAnswer whole = server.connect().ask("GET" + bytes.substr(4));
    RawClient client = server.connect();
    client.send(bytes);

    const RawAnswer answer = client.read_answer(true);

    EXPECT_GE(answer.status, 400U) << bytes.substr(0, 100);
    EXPECT_EQ(answer.status, whole.status) << bytes.substr(0, 100);
    EXPECT_EQ(answer.header("Content-Length"), std::to_string(whole.body.size()));
    EXPECT_EQ(client.read_to_end(), "") << bytes.substr(0, 100);
  }
}

TEST(Server, HasAPlainBodyForProtocolErrorsOfItsOwn) {
  TestServer server(echo);

  const RawAnswer answer = server.connect().ask("GET / HTTP/1.1\r\n\r\n");

  EXPECT_EQ(answer.body, "Missing, repeated or invalid Host header\n");
  EXPECT_EQ(answer.header("Content-Type"), "text/plain");
}

TEST(Server, Answers500ForAnExchangeThatWasDropped) {
  TestServer server([](Exchange exchange) {
    if (exchange.request().path == "/throw") throw std::runtime_error("a bug");
  });
  RawClient client = server.connect();

  for (const auto* target : {"/drop", "/throw", "/drop"}) {
    const RawAnswer answer = client.ask(get(target));
    EXPECT_EQ(answer.status, 500U);
    EXPECT_EQ(answer.header("Content-Type"), "application/json");
    EXPECT_EQ(answer.body, R"({"detail":"Internal Server Error"})");
  }
}

TEST(Server, AnswersAPeerThatHasEndedItsOwnSide) {
  TestServer server(echo);
  RawClient client = server.connect();
  client.send(get("/a") + post("/b", "hello") + "GET /half HTTP/1.1\r\nHo");
  client.end_sending();

  EXPECT_EQ(client.read_answer().body, "GET /a ");
  EXPECT_EQ(client.read_answer().body, "POST /b hello");
  EXPECT_EQ(client.read_answer().status, 400U);
  EXPECT_TRUE(client.is_ended());
}

TEST(Server, ForgetsAPeerThatBreaksOffInABody) {
  std::atomic<int> calls{0};
  Signal dropped;
  struct OnDrop {
    Signal& signal;
    ~OnDrop() { signal.set(); }
  };
  TestServer server([&](Exchange exchange) {
    std::move(exchange).read_body(kEchoBodyMax, [&calls, mark = std::make_unique<OnDrop>(dropped)](
                                                    Exchange, Result<void>) { ++calls; });
  });
  RawClient client = server.connect();
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf");
  client.close();

  EXPECT_TRUE(dropped.wait());
  EXPECT_EQ(calls, 0);
}

TEST(Server, TellsTheHandlerWhenThePeerLeaves) {
  Signal waiting;
  Signal gone;
  std::optional<Exchange> held;
  TestServer server([&](Exchange exchange) {
    exchange.on_disconnect([&] { gone.set(); });
    held.emplace(std::move(exchange));
    waiting.set();
  });
  RawClient client = server.connect();
  client.send(get("/"));
  ASSERT_TRUE(waiting.wait());

  client.close();

  EXPECT_TRUE(gone.wait());
  held.reset();
}

TEST(Server, DoesNotTellTheNextRequestsHandlerOfThisOnes) {
  std::atomic<int> gone{0};
  TestServer server([&](Exchange exchange) {
    exchange.on_disconnect([&] { ++gone; });
    std::move(exchange).send(text_response("ok"));
  });
  {
    RawClient client = server.connect();
    for (int i = 0; i < 10; ++i) EXPECT_EQ(client.ask(get("/")).status, 200U);
    client.end_sending();
    EXPECT_TRUE(client.is_ended());
  }
  server->stop();
  EXPECT_EQ(gone, 0);
}

TEST(Server, RunsPostedWorkOnTheConnectionsThread) {
  TestServer server([](Exchange exchange) {
    const auto io = std::this_thread::get_id();
    bool ran = false;
    exchange.post([&ran] { ran = true; });
    EXPECT_TRUE(ran);
    std::thread([exchange = std::move(exchange), io]() mutable {
      auto shared = std::make_shared<Exchange>(std::move(exchange));
      shared->post([shared, io] {
        const bool same = std::this_thread::get_id() == io;
        std::move(*shared).send(text_response(same ? "same" : "other"));
      });
    }).join();
  });

  EXPECT_EQ(server.connect().ask(get("/")).body, "same");
}

}  // namespace
}  // namespace quern::http
