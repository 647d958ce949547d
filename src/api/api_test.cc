// What the API answers over real sockets when something goes wrong. What goes right is in tests/protocol.

#include "api/api.h"

#include <fmt/format.h>
#include <pthread.h>

#include <array>
#include <future>
#include <thread>

#include "api/api_fixture.h"
#include "api/call.h"
#include "testing/eventually.h"

namespace quern::api {
namespace {

TEST_F(ApiTest, AnswersACreateThatCouldNotBeStoredWith502) {
  for (const ErrorCode code : {ErrorCode::unavailable, ErrorCode::data_loss, ErrorCode::internal}) {
    queue_.answer_with(FakeQueue::Answer::fails, {code, "the disk is full at /secret/path", {}});
    const std::string answer = talk("POST /v1/queue/echo", "{}");
    EXPECT_TRUE(
        holds(answer, {"HTTP/1.1 502 Bad Gateway", R"({"detail":"Runtime execution failed"})",
                       "X-Fal-Request-Id: trace"}));
    EXPECT_EQ(answer.find("/secret"), std::string::npos);
  }
}

TEST_F(ApiTest, AnswersACreateThatGrewTooLargeWith413) {
  queue_.answer_with(FakeQueue::Answer::fails,
                     {ErrorCode::too_large, "the input is too large", {}});
  EXPECT_TRUE(holds(talk("POST /v1/queue/echo", "{}"),
                    {"HTTP/1.1 413 ", R"({"detail":"Request body too large"})"}));
}

TEST_F(ApiTest, RoundsRetryAfterUpToWholeSeconds) {
  using std::chrono::milliseconds;
  for (const auto& [wait, seconds] :
       {std::pair{milliseconds(0), "1"}, {milliseconds(1), "1"}, {milliseconds(1500), "2"}}) {
    queue_.answer_with(FakeQueue::Answer::fails, {ErrorCode::rate_limited, "full", wait});
    EXPECT_TRUE(holds(talk("POST /v1/queue/echo", "{}"),
                      {" 429 ", "Retry-After: " + std::string(seconds) + "\r\n",
                       R"({"detail":"Queue is full"})"}));
  }
}

TEST_F(ApiTest, LooksAtLargeBodiesOffTheIoThreads) {
  const std::string large = R"({"prompt":")" + std::string(20'000, 'x') + "\"}";
  (void)talk("POST /v1/queue/echo", "{}");
  EXPECT_EQ(queue_.submit_thread(), "quern-io");
  (void)talk("POST /v1/queue/echo", large);
  EXPECT_EQ(queue_.submit_thread(), "quern-api");
  EXPECT_EQ(queue_.last_submission().input, large);

  (void)talk("POST /v1/queue/echo", "{}");
  const int replayable = connect();
  send_text(replayable,
            "POST /v1/queue/echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Key "
            "secret\r\nIdempotency-Key: again\r\nContent-Length: " +
                std::to_string(large.size()) + "\r\n\r\n" + large);
  EXPECT_TRUE(holds(read_all(replayable), {" 200 "}));
  EXPECT_EQ(queue_.submit_thread(), "quern-api");
}

// It may be an upload of a GiB, whose file is closed and removed then.
TEST_F(ApiTest, DestroysWorkThatItRefusedOffTheIoThreads) {
  struct Held {
    std::promise<std::string>& destroyer;
    explicit Held(std::promise<std::string>& p) : destroyer(p) {}
    Held(const Held&) = delete;
    ~Held() {
      std::array<char, 16> name{};
      ::pthread_getname_np(::pthread_self(), name.data(), name.size());
      destroyer.set_value(name.data());
    }
  };
  std::promise<std::string> destroyer;
  Context context({.blocking_pending_max = 0},
                  {queue_, *artifacts_, limiter_, clock_, random_, metrics_},
                  *BaseUrls::make("", {}));
  server_ = std::make_unique<http::Server>(
      http::ServerOptions{.listen = "127.0.0.1:0", .threads = 1},
      [&](http::Exchange e) {
        run_blocking(std::make_unique<Call>(context, std::move(e)),
                     [held = std::make_unique<Held>(destroyer)](CallPtr) {});
      },
      metrics_);
  ASSERT_TRUE(server_->start());

  EXPECT_TRUE(holds(talk("GET /"), {" 503 ", "Retry-After: 1\r\n"}));

  EXPECT_EQ(destroyer.get_future().get(), "quern-api");
  server_->stop();
  context.stop();
}

TEST_F(ApiTest, Answers503WhileThereIsNoMemoryForABodyOrAnAnswer) {
  TaskView task = make_task(TaskState::succeeded);
  const std::string text(4U << 20U, 'x');
  task.metadata_json = R"({"text":")" + text + "\"}";
  serve({}, {.memory_bytes_max = 1});
  queue_.set_task(task);
  const std::string result_line = "GET /v1/queue/echo/requests/" + std::string(kId);
  const int unread = connect();
  const int small = 4096;
  ::setsockopt(unread, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  ask(unread, result_line);
  const auto held = [&] { return metrics_.gauge("quern_http_memory_bytes", "").value(); };
  ASSERT_TRUE(eventually([&] { return held() > 0; }));

  for (const std::string& answer :
       {talk(result_line), talk("POST /v1/queue/echo", std::string(100'000, ' '))}) {
    EXPECT_TRUE(
        holds(answer, {" 503 ", "Retry-After: 1\r\n", R"({"detail":"Service unavailable"})"}));
  }
  EXPECT_TRUE(holds(talk("POST /v1/queue/echo", "{}"), {" 200 "}));

  ::close(unread);
  ASSERT_TRUE(eventually([&] { return held() == 0; }));
  EXPECT_NE(talk(result_line).find(text), std::string::npos);
}

TEST_F(ApiTest, StoresTheBodyAsSent) {
  (void)talk("POST /v1/queue/echo", " {\"b\" : 1.0, \"a\":\"\\u0041\"}\n");
  const Submission got = queue_.last_submission();
  EXPECT_EQ(got.input, " {\"b\" : 1.0, \"a\":\"\\u0041\"}\n");
  EXPECT_EQ(got.key, "k");
  EXPECT_EQ(got.model, "echo");
}

TEST_F(ApiTest, ReadsTheOptionsOfAFalCreate) {
  const int fd = connect();
  const std::string text =
      "POST /fal/quern/echo?fal_max_queue_length=7 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
      "Authorization: Key secret\r\nX-Fal-Queue-Priority: LOW\r\nX-Fal-No-Retry: true\r\n"
      "X-Fal-Request-Start-Timeout: 9\r\nX-Fal-Request-Timeout: 2.5\r\nContent-Length: 0\r\n\r\n";
  ASSERT_EQ(::send(fd, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  EXPECT_TRUE(holds(read_all(fd), {" 200 OK"}));

  const Submission got = queue_.last_submission();
  EXPECT_EQ(got.priority, Priority::low);
  EXPECT_TRUE(got.no_retry);
  EXPECT_EQ(got.start_timeout, std::chrono::milliseconds(2500));
  EXPECT_EQ(got.model_queued_max, 7U);
  EXPECT_EQ(got.input, "{}");
}

TEST_F(ApiTest, AnswersALookUpThatFailedWithoutInternals) {
  queue_.answer_with(FakeQueue::Answer::fails, {ErrorCode::unavailable, "busy", {}});
  EXPECT_TRUE(holds(talk(status_path()), {" 503 ", "Retry-After: 1\r\n", "Service unavailable"}));
  queue_.answer_with(FakeQueue::Answer::fails, {ErrorCode::data_loss, "page 7 is torn", {}});
  const std::string answer = talk(status_path());
  EXPECT_TRUE(holds(answer, {" 500 ", R"({"detail":"Internal Server Error"})"}));
  EXPECT_EQ(answer.find("torn"), std::string::npos);
}

TEST_F(ApiTest, AnswersACancelThatCouldNotBeStoredWith502) {
  queue_.answer_with(FakeQueue::Answer::fails, {ErrorCode::unavailable, "busy", {}});
  EXPECT_TRUE(holds(talk("PUT /v1/queue/echo/requests/" + std::string(kId) + "/cancel"),
                    {" 502 ", "Runtime execution failed"}));
}

TEST_F(ApiTest, AnswersBugsWith500AndTheTraceId) {
  for (const auto bug : {FakeQueue::Answer::drops, FakeQueue::Answer::throws}) {
    queue_.answer_with(bug);
    for (const std::string& line : {std::string("POST /v1/queue/echo"), status_path()})
      EXPECT_TRUE(holds(
          talk(line), {" 500 Internal Server Error", "X-Request-Id: trace",
                       "Content-Type: application/json", R"({"detail":"Internal Server Error"})"}));
  }
}

TEST_F(ApiTest, AnswersWhenTheQueueRepliesFromAThreadOfItsOwn) {
  queue_.answer_with(FakeQueue::Answer::later);
  const int fd = connect();
  ask(fd, "POST /v1/queue/echo", "{}");
  ASSERT_TRUE(queue_.wait_for_reply());

  std::thread([this] { queue_.reply_now(); }).join();

  EXPECT_TRUE(holds(read_all(fd), {" 200 ", kId}));
}

TEST_F(ApiTest, TakesNoReplyAfterTheServerHasStoppedForAFault) {
  queue_.answer_with(FakeQueue::Answer::later);
  const int fd = connect();
  ask(fd, "POST /v1/queue/echo", "{}");
  ASSERT_TRUE(queue_.wait_for_reply());
  server_->stop(std::chrono::milliseconds(0));

  queue_.reply_now();

  EXPECT_EQ(metrics_.render().find(R"(code="500")"), std::string::npos) << metrics_.render();
  ::close(fd);
}

TEST_F(ApiTest, SeesNewKeysAndModelsAfterAReload) {
  api_->reload({ring_of("new"), catalog_of("other")});

  EXPECT_TRUE(holds(talk("POST /v1/queue/other", "{}", "secret"), {" 401 "}));
  EXPECT_TRUE(holds(talk("POST /v1/queue/echo", "{}", "new"), {" 404 ", "App not found: echo"}));
  EXPECT_TRUE(holds(talk("POST /v1/queue/other", "{}", "new"), {" 200 "}));
  EXPECT_TRUE(holds(talk("GET /openapi.json"), {"/v1/queue/other"}));
}

TEST_F(ApiTest, KnowsATaskByTheAliasesThatItsModelHad) {
  queue_.set_task(make_task(TaskState::running));
  const auto ask_at = [&](std::string_view endpoint) {
    return talk(fmt::format("GET /fal/{}/requests/{}/status", endpoint, kId));
  };
  auto known = std::make_shared<EndpointHistory>(
      EndpointHistory::parse("echo acme/old/v1\nother acme/other\n"));
  for (const char* left : {"echo", "other"}) {  // the model is there without its alias, or gone
    api_->reload({ring_of("secret"), catalog_of(left), known});
    EXPECT_TRUE(holds(ask_at("acme/old/v1"), {" 202 ", "IN_PROGRESS"}));
    EXPECT_TRUE(holds(ask_at("acme/old"), {" 202 ", "/fal/acme/old/requests/"}));
    EXPECT_TRUE(holds(ask_at("quern/echo"), {" 202 "}));
    EXPECT_TRUE(holds(ask_at("acme/other"), {" 404 ", "Request not found"}));
    EXPECT_TRUE(holds(ask_at("acme/none"), {" 404 ", "Request not found"}));
  }
}

TEST_F(ApiTest, SaysWhyItIsNotReady) {
  queue_.set_unwritable("no space left on device");
  EXPECT_TRUE(
      holds(talk("GET /readyz"), {" 503 ", "Retry-After: 1\r\n", "no space left on device"}));
  api_->start_drain();
  EXPECT_TRUE(holds(talk("GET /readyz"), {" 503 ", "Retry-After: 1\r\n", "draining"}));
}

TEST_F(ApiTest, RefusesAnEnvelopeWithoutItsBoundary) {
  const int fd = connect();
  send_text(
      fd,
      "POST /v1/files?file_name=a.bin HTTP/1.1\r\nHost: a\r\nAuthorization: Key secret\r\n"
      "Content-Type: multipart/form-data\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab");
  EXPECT_TRUE(holds(read_all(fd), {" 422 ", "boundary"}));
}

TEST_F(ApiTest, CountsAnswersByRouteAndCode) {
  (void)talk(status_path());
  (void)talk("GET /nowhere");
  EXPECT_TRUE(
      holds(metrics_.render(), {R"(quern_http_requests_total{route="status",code="200"} 1)",
                                R"(quern_http_requests_total{route="none",code="404"} 1)",
                                R"(quern_http_request_seconds_count{route="none",code="404"} 1)"}));
}

TEST_F(ApiTest, BuildsUrlsFromThePublicOne) {
  serve({.public_url = "https://quern.example/api"});
  EXPECT_TRUE(holds(talk(status_path()), {"https://quern.example/api/v1/queue/echo/requests/"}));
  EXPECT_TRUE(
      holds(talk("GET /openapi.json"), {R"("servers":[{"url":"https://quern.example/api"}])"}));
}

// Behind a proxy's prefix an address that begins with a slash leads elsewhere.
TEST_F(ApiTest, HasNoAbsoluteAddressInItsPage) {
  const std::string page = talk("GET /docs");
  EXPECT_EQ(page.find("href=\"/"), std::string::npos);
  EXPECT_EQ(page.find("fetch('/"), std::string::npos);
  EXPECT_EQ(page.find("location.origin"), std::string::npos);
}

TEST_F(ApiTest, RefusesOptionsThatMakeNoSense) {
  EXPECT_FALSE(Api::make({.public_url = "quern"},
                         {queue_, *artifacts_, limiter_, clock_, random_, metrics_},
                         {ring_of("secret"), catalog_of("echo")}));
}

TEST_F(ApiTest, GivesProtocolErrorsTheCallersTraceIdWhenItIsKnown) {
  http::Request request;
  const http::Header headers[] = {{"x-request-id", "t9"}, {"origin", "https://app.example"}};
  request.headers = headers;
  serve({.cors_origins = {"https://app.example"}});
  const http::Response response = api_->protocol_error(&request, 408, "Request body timed out");
  EXPECT_TRUE(holds(response.head, {"X-Request-Id: t9\r\nX-Fal-Request-Id: t9\r\n",
                                    "Access-Control-Allow-Origin: https://app.example\r\n"}));
}

TEST_F(ApiTest, GivesProtocolErrorsTheSameBody) {
  const http::Response response = api_->protocol_error(nullptr, 431, "Headers too large");
  EXPECT_EQ(response.status, 431U);
  EXPECT_EQ(response.body, R"({"detail":"Headers too large"})");
  EXPECT_NE(response.head.find("X-Request-Id: "), std::string::npos);
}

}  // namespace
}  // namespace quern::api
