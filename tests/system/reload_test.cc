// SIGHUP: new keys and models while callers stay connected; a broken file changes nothing.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <future>

#include "http/tls_client.h"
#include "testing/certificate.h"
#include "testing/eventually.h"
#include "tests/system/system_fixture.h"

namespace quern {
namespace {

using std::chrono::seconds;

constexpr const char* kNewSecret = "test-secret-of-three";
constexpr const char* kNewKey =
    "[[key]]\nid = \"three\"\nsecret = \"test-secret-of-three\"\nmodels = [\"later\"]\n";
constexpr const char* kNewModel = "[[model]]\nid = \"later\"\nexecutor = { kind = \"echo\" }\n";

// One connection that is kept, so that a test sees when the server closes it.
class KeptConnection {
 public:
  explicit KeptConnection(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
  }
  ~KeptConnection() { ::close(fd_); }
  KeptConnection(const KeptConnection&) = delete;
  KeptConnection& operator=(const KeptConnection&) = delete;

  /// The status line of the answer to a GET; "" if the connection was closed.
  std::string get(const std::string& path) {
    const std::string request = "GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n";
    if (::send(fd_, request.data(), request.size(), MSG_NOSIGNAL) < 0) return "";
    std::string answer;
    char buffer[4096];
    while (answer.find("\r\n\r\n") == std::string::npos) {
      const ssize_t got = ::recv(fd_, buffer, sizeof(buffer), 0);
      if (got <= 0) return "";
      answer.append(buffer, static_cast<std::size_t>(got));
    }
    return answer.substr(0, answer.find("\r\n"));
  }

 private:
  int fd_;
};

class ReloadTest : public SystemTest {
 protected:
  void reload(const std::string& text, const std::string& server_keys = "") {
    server_->write_config(text, server_keys);
    server_->signal(SIGHUP);
  }
  void wait_for_log(const std::string& words) {
    EXPECT_TRUE(eventually([&] { return server_->log().find(words) != std::string::npos; }))
        << server_->log();
  }
};

TEST_F(ReloadTest, TakesNewKeysAndModelsAndKeepsEveryConnection) {
  serve(config());
  KeptConnection kept(server_->port());
  ASSERT_EQ(kept.get("/healthz"), "HTTP/1.1 200 OK");
  EXPECT_EQ(client(kNewSecret).submit("later", "{}").error().http_status, 401);
  EXPECT_EQ(client().submit("later", "{}").error().http_status, 404);

  reload(config(std::string(kNewKey) + kNewModel));
  wait_for_log("configuration reloaded");

  Client newcomer = client(kNewSecret);
  const auto task = newcomer.submit("later", "{}");
  ASSERT_TRUE(task) << task.error().message;
  EXPECT_TRUE(newcomer.wait(*task));
  EXPECT_EQ(newcomer.submit("echo", "{}").error().http_status, 403);
  EXPECT_EQ(kept.get("/healthz"), "HTTP/1.1 200 OK");
}

TEST_F(ReloadTest, AnswersACallThatWasHeldAcrossTheReload) {
  serve(config(process_model(
      "wait",
      "cat >/dev/null; echo '{\"progress\":0.5}'; while [ ! -e go ]; do sleep 0.05; done\n")));
  Client caller = client();
  const auto task = caller.submit("wait", "{}");
  ASSERT_TRUE(task);
  for (StatusReport report; !report.progress;) report = *caller.status(*task, false, seconds{1});
  auto held = std::async(std::launch::async, [&] { return caller.wait(*task); });

  reload(config(process_model(
      "wait", "cat >/dev/null; echo '{\"progress\":0.5}'; while [ ! -e go ]; do sleep 0.05; done\n",
      "concurrency = 3")));
  wait_for_log("configuration reloaded");
  std::ofstream(folder_.path() / "wait" / "go") << "";

  const auto result = held.get();
  EXPECT_TRUE(result) << result.error().message;
}

TEST_F(ReloadTest, ServesARenewedCertificate) {
  const http::TlsFiles files{.cert = folder_.path() / "cert.pem",
                             .key = folder_.path() / "key.pem"};
  const std::string tls = "tls = { cert = \"cert.pem\", key = \"key.pem\" }";
  const auto server_key = [&] {
    return http::TlsClient(static_cast<std::uint16_t>(server_->port())).server_key();
  };
  write_certificate(files);
  serve(config(), tls);
  const std::string old_key = server_key();
  ASSERT_NE(old_key, "");

  write_certificate(files);
  reload(config(), tls);

  EXPECT_TRUE(eventually([&] { return server_key() != old_key; }));
  EXPECT_EQ(server_->log().find("[server] tls"), std::string::npos) << server_->log();
}

TEST_F(ReloadTest, RefusesABrokenFileAndKeepsTheOldConfiguration) {
  serve(config());
  Client caller = client();

  reload(config(std::string(kNewModel) + "[[model]]\nid = \"broken\"\nexcutor = 1\n"));
  wait_for_log("configuration not reloaded");

  EXPECT_NE(server_->log().find("excutor: unknown key"), std::string::npos) << server_->log();
  const auto task = caller.submit("echo", "{}");
  ASSERT_TRUE(task) << task.error().message;
  EXPECT_TRUE(caller.wait(*task));
  EXPECT_EQ(caller.submit("later", "{}").error().http_status, 404);
}

TEST_F(ReloadTest, RefusesWhatTheNextStartWouldRefuse) {
  serve(config());
  const std::pair<const char*, const char*> cases[] = {
      {"trusted_proxies = [\"nonsense\"]", "quern.toml:3: [server] trusted_proxies: "},
      {"public_url = \"http://x/?a#b\"", "quern.toml:3: [server] public_url: "},
      {"tls = { cert = \"none.pem\", key = \"none.pem\" }", "quern.toml:3: [server] tls: "},
  };

  for (const auto& [server_keys, words] : cases) {
    reload(config(kNewModel), server_keys);
    wait_for_log(words);
  }

  EXPECT_EQ(server_->log().find("configuration reloaded"), std::string::npos) << server_->log();
  EXPECT_EQ(server_->log().find("at the next start only"), std::string::npos) << server_->log();
  EXPECT_EQ(client().submit("later", "{}").error().http_status, 404);
}

// An editor that writes in place leaves such a file for a moment.
TEST_F(ReloadTest, RefusesAFileWithNothingInIt) {
  serve(config());
  reload("");
  wait_for_log("configuration not reloaded");
  EXPECT_NE(server_->log().find("quern.toml has neither models nor keys"), std::string::npos)
      << server_->log();
  EXPECT_TRUE(client().submit("echo", "{}"));
}

TEST_F(ReloadTest, SaysThatNobodyCanCallOnceTheLastKeyIsGone) {
  serve(config());
  EXPECT_EQ(server_->log().find("no key is configured"), std::string::npos) << server_->log();

  reload(kNewModel);

  wait_for_log("configuration reloaded");
  EXPECT_NE(server_->log().find("no key is configured"), std::string::npos) << server_->log();
}

TEST_F(ReloadTest, EndsTheWaitingTasksOfAModelThatIsGone) {
  serve(config(kNewModel));
  Client caller = client();
  ASSERT_TRUE(caller.call("POST", "/admin/models/later/pause"));
  const auto task = caller.submit("later", "{}");
  ASSERT_TRUE(task);

  reload(config());

  const auto result = caller.wait(*task);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().error_type, "INTERNAL_SERVER_ERROR") << result.error().message;
}

}  // namespace
}  // namespace quern
