#pragma once
// The API over real sockets, on a queue that fails when told to. For tests.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include "api/api.h"
#include "api/fake_queue.h"
#include "artifact/artifact_store.h"
#include "limit/rate_limiter.h"
#include "testing/temp_folder.h"

namespace quern::api {

inline constexpr std::string_view kId = "mmsu_01arz3ndektsv4rrffq69g5fav";

inline std::shared_ptr<const KeyRing> ring_of(std::string_view secret, std::string id = "k") {
  ApiKey key;
  key.id = std::move(id);
  key.secrets = {sha256(secret)};
  key.rate = key.burst = 100'000;
  return *KeyRing::make({key});
}

inline std::shared_ptr<const Catalog> catalog_of(std::string id) {
  Model model;
  model.id = std::move(id);
  return *Catalog::make({model});
}

inline TaskView make_task(TaskState state) {
  TaskView view;
  view.id = *TaskId::parse(kId);
  view.key = "k";
  view.model = "echo";
  view.state = state;
  return view;
}

class ApiTest : public ::testing::Test {
 protected:
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

}  // namespace quern::api
