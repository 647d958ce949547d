// The API over real sockets, on a queue that fails when told to. What goes right is in tests/protocol.

#include "api/api.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <future>
#include <thread>

#include "api/call.h"
#include "api/fake_queue.h"
#include "artifact/artifact_store.h"
#include "limit/rate_limiter.h"
#include "testing/eventually.h"
#include "testing/temp_folder.h"

namespace quern::api {
namespace {

constexpr std::string_view kId = "mmsu_01arz3ndektsv4rrffq69g5fav";

std::shared_ptr<const KeyRing> ring_of(std::string_view secret, std::string id = "k") {
  ApiKey key;
  key.id = std::move(id);
  key.secrets = {sha256(secret)};
  key.rate = key.burst = 100'000;
  return *KeyRing::make({key});
}

std::shared_ptr<const Catalog> catalog_of(std::string id) {
  Model model;
  model.id = std::move(id);
  return *Catalog::make({model});
}

TaskView make_task(TaskState state) {
  TaskView view;
  view.id = *TaskId::parse(kId);
  view.key = "k";
  view.model = "echo";
  view.state = state;
  return view;
}

class ApiTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kLeftOut = 100;

  void SetUp() override { serve({}); }
  void TearDown() override {
    server_->stop();
    api_->stop();
  }

  void serve(Options options, http::ServerOptions server_options = {}) {
    if (server_) TearDown();
    artifacts_ = *ArtifactStore::open(folder_.path(), random_);
    auto made =
        Api::make(std::move(options), {queue_, *artifacts_, limiter_, clock_, random_, metrics_},
                  {ring_of("secret"), catalog_of("echo")});
    ASSERT_TRUE(made);
    api_ = std::move(*made);
    server_options.listen = "127.0.0.1:0";
    server_options.threads = 1;
    server_ = std::make_unique<http::Server>(
        server_options, [this](http::Exchange e) { api_->handle(std::move(e)); }, metrics_);
    ASSERT_TRUE(server_->start());
    queue_.set_task(make_task(TaskState::running));
  }

  int connect() const {
    const std::string url = server_->url();
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1))));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    return fd;
  }

  static void ask(int fd, std::string_view line, std::string_view body = "",
                  std::string_view key = "secret") {
    std::string text(line);
    text += " HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Request-Id: trace\r\n";
    text += "Authorization: Key " + std::string(key) + "\r\n";
    text += "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n";
    text += body;
    send_text(fd, text);
  }
  static void send_text(int fd, std::string_view text) {
    EXPECT_EQ(::send(fd, text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }

  static std::size_t count_of(std::string_view part, std::string_view text) {
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string_view::npos; ++count) {
      at = text.find(part, at + part.size());
    }
    return count;
  }
  static std::string read_all(int fd) {
    std::string text;
    char bytes[4096];
    for (ssize_t got = 0; (got = ::recv(fd, bytes, sizeof(bytes), 0)) > 0;)
      text.append(bytes, static_cast<std::size_t>(got));
    ::close(fd);
    return text;
  }

  [[nodiscard]] std::string talk(std::string_view line, std::string_view body = "",
                                 std::string_view key = "secret") const {
    const int fd = connect();
    ask(fd, line, body, key);
    return read_all(fd);
  }

  static ::testing::AssertionResult holds(const std::string& answer,
                                          std::initializer_list<std::string_view> texts) {
    for (const std::string_view text : texts) {
      if (answer.find(text) == std::string::npos)
        return ::testing::AssertionFailure() << "no \"" << text << "\" in\n" << answer;
    }
    return ::testing::AssertionSuccess();
  }

  /// The path of an upload link.
  [[nodiscard]] std::string initiate_upload() const {
    const std::string answer =
        talk("POST /fal/storage/upload/initiate", R"({"file_name":"a.bin"})");
    const std::size_t begin = answer.find("/fal/storage/upload/");
    return answer.substr(begin, answer.find('"', begin) - begin);
  }
  /// Begins a PUT of `bytes`, of which the last kLeftOut are left out. Answers once it has come to the file, but for
  /// less than a piece.
  [[nodiscard]] int begin_put(const std::string& path, std::size_t bytes) const {
    constexpr std::uintmax_t kPieceBytes = 64 * 1024;
    const std::uintmax_t before = growing_bytes();
    const int fd = connect();
    send_text(fd, fmt::format("PUT {} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                              "Content-Length: {}\r\n\r\n{}",
                              path, bytes, std::string(bytes - kLeftOut, 'x')));
    EXPECT_TRUE(
        eventually([&] { return growing_bytes() + kPieceBytes + kLeftOut >= before + bytes; }));
    return fd;
  }
  static std::string end_put(int fd) {
    send_text(fd, std::string(kLeftOut, 'x'));
    return read_all(fd);
  }
  [[nodiscard]] std::uintmax_t growing_bytes() const {
    std::uintmax_t bytes = 0;
    std::error_code gone;
    for (const auto& file : std::filesystem::directory_iterator(folder_.path() / "temp")) {
      const std::uintmax_t size = file.file_size(gone);
      if (!gone) bytes += size;
    }
    return bytes;
  }

  /// An event stream of `task`, which is watched.
  int stream_with_logs(const TaskView& task) {
    queue_.set_task(task);
    const int stream = connect();
    ask(stream, "GET /fal/quern/echo/requests/" + std::string(kId) + "/status/stream?logs=1");
    EXPECT_TRUE(queue_.wait_for_watches(1));
    return stream;
  }

  /// The task's logs are `logs` at its end, `dropped` fewer than were written. Answers all that was
  /// streamed, with each of `messages` once.
  std::string end_with_logs(int stream, TaskView task, std::vector<LogEntry> logs,
                            std::uint64_t dropped, std::initializer_list<const char*> messages) {
    task.state = TaskState::succeeded;
    task.logs = std::move(logs);
    task.logs_dropped = dropped;
    queue_.set_task(task);
    std::string text = read_all(stream);
    for (const char* message : messages)
      EXPECT_EQ(count_of(fmt::format("\"{}\"", message), text), 1U) << message;
    return text;
  }

  /// A held answer and an event stream.
  std::pair<int, int> hold_open() {
    const int held = connect();
    ask(held, status_path("/status?wait=60"));
    EXPECT_TRUE(queue_.wait_for_watches(1));
    const int stream = connect();
    ask(stream, "GET /fal/quern/echo/requests/" + std::string(kId) + "/status/stream");
    EXPECT_TRUE(queue_.wait_for_watches(2));
    return {held, stream};
  }
  static std::string status_path(std::string_view rest = "/status") {
    return "GET /v1/queue/echo/requests/" + std::string(kId) + std::string(rest);
  }

  TempFolder folder_;
  FakeQueue queue_;
  RateLimiter limiter_;
  SystemClock clock_;
  SystemRandom random_;
  Metrics metrics_;
  std::unique_ptr<ArtifactStore> artifacts_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<http::Server> server_;
};

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

TEST_F(ApiTest, BoundsAllThatGrowsAtOnceAtOneLink) {
  constexpr std::size_t kMax = 1 << 20U;
  serve({.upload_bytes_max = kMax});
  for (const auto& [place, other] : {std::pair{"", ""}, {"/1", "/1"}, {"/1", "/2"}}) {
    const std::string link = initiate_upload();
    const int first = begin_put(link + place, kMax);
    const int second = begin_put(link + other, kMax);

    EXPECT_TRUE(holds(talk("PUT " + link + place, std::string(200'000, 'y')), {" 413 "})) << place;

    ::close(second);
    EXPECT_TRUE(eventually([&] {
      return holds(talk("PUT " + link + other, std::string(200'000, 'y')), {" 200 "});
    })) << place;
    EXPECT_TRUE(holds(end_put(first), {" 200 "})) << place;
  }
}

TEST_F(ApiTest, KeepsAPartWhoseRepetitionIsRefused) {
  constexpr std::size_t kMax = 1 << 20U;
  serve({.upload_bytes_max = kMax});
  const std::string link = initiate_upload();
  ASSERT_TRUE(holds(talk("PUT " + link + "/1", "first"), {" 200 "}));
  const int again = begin_put(link + "/1", 600'000);
  ASSERT_TRUE(holds(talk("PUT " + link + "/2", std::string(kMax, 'b')), {" 200 "}));
  ASSERT_TRUE(holds(talk("PUT " + link + "/3", std::string(kMax - 599'950, 'c')), {" 200 "}));

  EXPECT_TRUE(holds(end_put(again), {" 413 "}));

  EXPECT_TRUE(holds(talk("POST " + link + "/complete", R"({"parts":[{"partNumber":1}]})"),
                    {" 200 ", R"("file_size":5)"}));
}

// Where no thread may block, none can look at them.
TEST_F(ApiTest, LooksAtTheLargeBodiesOfUploadsOffTheIoThreads) {
  serve({.blocking_pending_max = 0});
  const std::string link = initiate_upload();
  EXPECT_EQ(link.find("/fal/storage/upload/"), 0U) << "a small one";
  const std::string broken(20'000, '[');
  for (const char* route : {"initiate", "initiate-multipart"}) {
    EXPECT_TRUE(holds(talk("POST /fal/storage/upload/" + std::string(route), broken), {" 503 "}));
  }
  EXPECT_TRUE(holds(talk("POST " + link + "/complete", broken), {" 503 "}));
}

TEST_F(ApiTest, ReadsNoBodyForALinkThatItDidNotMake) {
  const std::string link = "/fal/storage/upload/" + std::string(75, '0') + "/a.bin";
  const int fd = connect();
  send_text(fd,
            "POST " + link + "/complete HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
  std::array<char, 16> answer{};
  EXPECT_EQ(::recv(fd, answer.data(), 12, MSG_WAITALL), 12);
  EXPECT_STREQ(answer.data(), "HTTP/1.1 404");
  ::close(fd);
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

TEST_F(ApiTest, EndsHeldAnswersAtADrainAndStreamsWhenTheServerStops) {
  const auto [held, stream] = hold_open();

  api_->start_drain();
  EXPECT_TRUE(holds(read_all(held), {" 200 OK", "IN_PROGRESS"}));
  EXPECT_TRUE(queue_.wait_for_watches(1));
  const int later = connect();
  ask(later, "GET /fal/quern/echo/requests/" + std::string(kId) + "/status/stream");
  EXPECT_TRUE(queue_.wait_for_watches(2));
  api_->end_live();

  for (const int each : {stream, later}) {
    const std::string text = read_all(each);
    EXPECT_TRUE(holds(text, {" 200 OK", "data: {"}));
    EXPECT_FALSE(text.ends_with("\r\n0\r\n\r\n"))
        << text;  // to fal's client that is the task's end
  }
  EXPECT_TRUE(queue_.wait_for_watches(0));
}

TEST_F(ApiTest, StreamsWhatADrainStillBrought) {
  const auto [held, stream] = hold_open();
  api_->start_drain();

  queue_.set_task(make_task(TaskState::succeeded));
  api_->end_live();

  EXPECT_TRUE(holds(read_all(stream), {"IN_PROGRESS", "COMPLETED", "0\r\n\r\n"}));
  EXPECT_TRUE(holds(read_all(held), {" 200 OK"}));
}

TEST_F(ApiTest, EndsWhatIsHeldOpenForAKeyThatIsTakenAway) {
  const auto [held, stream] = hold_open();

  api_->reload({ring_of("another secret of this key"), catalog_of("other")});
  EXPECT_TRUE(queue_.wait_for_watches(2));
  api_->reload({ring_of("secret", "another"), catalog_of("echo")});

  ASSERT_TRUE(queue_.wait_for_watches(0));
  EXPECT_TRUE(holds(read_all(held), {" 200 OK", "IN_PROGRESS"}));
  const std::string text = read_all(stream);
  EXPECT_TRUE(holds(text, {" 200 OK", "data: {"}));
  EXPECT_FALSE(text.ends_with("\r\n0\r\n\r\n")) << text;
}

TEST_F(ApiTest, FreesWhatACallerWaitedForWhenItLeaves) {
  const int held = connect();
  ask(held, status_path("/status?wait=60"));
  ASSERT_TRUE(queue_.wait_for_watches(1));

  ::close(held);

  EXPECT_TRUE(queue_.wait_for_watches(0));
}

TEST_F(ApiTest, AnswersAtOnceWhenTooManyAnswersAreHeld) {
  serve({.waits_max = 1});
  const int held = connect();
  ask(held, status_path("/status?wait=60"));
  ASSERT_TRUE(queue_.wait_for_watches(1));

  EXPECT_TRUE(holds(talk(status_path("/status?wait=60")), {" 200 OK", "IN_PROGRESS"}));

  queue_.set_task(make_task(TaskState::succeeded));
  EXPECT_TRUE(holds(read_all(held), {" 200 OK", "COMPLETED"}));
}

TEST_F(ApiTest, KeepsAQuietStreamAliveWithComments) {
  serve({.stream_comment_every = std::chrono::milliseconds(5)});
  const int stream = connect();
  ask(stream, "GET /fal/quern/echo/requests/" + std::string(kId) + "/status/stream");
  std::string text;
  char byte = 0;
  while (text.find(": waiting") == std::string::npos && ::recv(stream, &byte, 1, 0) == 1)
    text += byte;

  queue_.set_task(make_task(TaskState::succeeded));

  EXPECT_TRUE(holds(text + read_all(stream), {"IN_PROGRESS", ": waiting", "COMPLETED"}));
}

TEST_F(ApiTest, FreesAStreamWhoseCallerHasLeft) {
  serve({.stream_comment_every = std::chrono::milliseconds(5)});
  const int stream = connect();
  ask(stream, "GET /fal/quern/echo/requests/" + std::string(kId) + "/status/stream");
  ASSERT_TRUE(queue_.wait_for_watches(1));

  ::close(stream);

  EXPECT_TRUE(queue_.wait_for_watches(0));
}

TEST_F(ApiTest, StreamsOnlyTheLogEntriesThatAreNew) {
  TaskView task = make_task(TaskState::running);
  task.logs = {{clock_.now().wall, LogSeverity::info, false, "first"}};
  const int stream = stream_with_logs(task);

  task.state = TaskState::succeeded;
  task.logs.push_back({clock_.now().wall, LogSeverity::info, false, "second"});
  queue_.set_task(task);

  const std::string text = read_all(stream);
  EXPECT_TRUE(holds(text, {"first", "second"}));
  EXPECT_EQ(text.find("first"), text.rfind("first"));
}

TEST_F(ApiTest, StreamsInAsciiAlone) {
  TaskView task = make_task(TaskState::running);
  task.logs = {{clock_.now().wall, LogSeverity::info, false, "gr\xC3\xBC\xC3\x9F"}};
  const int stream = stream_with_logs(task);

  task.state = TaskState::succeeded;
  queue_.set_task(task);

  EXPECT_TRUE(holds(read_all(stream), {R"("message":"gr\u00fc\u00df")"}));
}

TEST_F(ApiTest, LeavesAConnectionFreeAfterTheHeadOfAStream) {
  const int caller = connect();
  const std::string heads = "Host: h\r\nAuthorization: Key secret\r\n";
  const std::string both = "HEAD /fal/quern/echo/requests/" + std::string(kId) +
                           "/status/stream HTTP/1.1\r\n" + heads + "\r\nGET /healthz HTTP/1.1\r\n" +
                           heads + "Connection: close\r\n\r\n";

  ASSERT_EQ(::send(caller, both.data(), both.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(both.size()));

  EXPECT_EQ(count_of("HTTP/1.1 200 OK", read_all(caller)), 2U);
}

TEST_F(ApiTest, AnswersAHeldCallerThatEndsItsSideOfTheConnection) {
  const int held = connect();
  ask(held, "GET /v1/queue/echo/requests/" + std::string(kId) + "/status?wait=60");
  ASSERT_TRUE(queue_.wait_for_watches(1));

  ::shutdown(held, SHUT_WR);

  EXPECT_TRUE(holds(read_all(held), {"HTTP/1.1 200 OK", R"("status":"IN_PROGRESS")"}));
  EXPECT_TRUE(queue_.wait_for_watches(0));
}

// A program that prints a line again and again, which is read in pieces.
TEST_F(ApiTest, StreamsEachOfManyLogEntriesThatAreEqual) {
  const LogEntry same{clock_.now().wall, LogSeverity::info, false, "same"};
  const auto repeat = [&](std::size_t count) {
    std::vector<LogEntry> logs(count, same);
    for (std::size_t i = 0; i < count; ++i) logs[i].number = i;
    return logs;
  };
  TaskView task = make_task(TaskState::running);
  task.logs = repeat(1);
  const int stream = stream_with_logs(task);

  task.state = TaskState::succeeded;
  task.logs = repeat(60);
  queue_.set_task(task);

  EXPECT_EQ(count_of("\"same\"", read_all(stream)), 60U);
}

/// Of the runner, or without a number of the queue itself.
LogEntry log_entry(const std::string& text, std::optional<std::uint64_t> number = std::nullopt) {
  return {WallTime{}, LogSeverity::info, !number, text, number};
}

TEST_F(ApiTest, StreamsWhatIsNewThoughOldLogEntriesWereDropped) {
  TaskView task = make_task(TaskState::running);
  task.logs = {log_entry("a", 0), log_entry("b", 1), log_entry("c", 2)};
  const int stream = stream_with_logs(task);

  const std::string text = end_with_logs(stream, task,
                                         {log_entry("2 earlier lines were dropped"),
                                          log_entry("c", 2), log_entry("d", 3), log_entry("e", 4)},
                                         2, {"a", "b", "c", "d", "e"});

  EXPECT_EQ(count_of("dropped", text), 0U) << "none that was not sent";
}

TEST_F(ApiTest, StreamsAnEntryOnceThoughLinesAfterItWereDropped) {
  TaskView task = make_task(TaskState::running);
  task.logs = {log_entry("started"), log_entry("a", 0)};
  const int stream = stream_with_logs(task);

  const std::string text =
      end_with_logs(stream, task,
                    {log_entry("500 earlier lines were dropped"), log_entry("started"),
                     log_entry("b", 500), log_entry("c", 501), log_entry("ended")},
                    500, {"started", "a", "b", "c", "ended"});

  EXPECT_EQ(count_of("\"499 earlier lines were dropped", text), 1U) << "but for one that was sent";
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
