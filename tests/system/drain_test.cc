// SIGTERM: what runs is finished or handed back, and nothing is lost.

#include <fstream>
#include <functional>

#include "http/raw_client.h"
#include "tests/system/system_fixture.h"

namespace quern {
namespace {

using std::chrono::seconds;

// Runs until the file `go` appears in the model's folder.
constexpr const char* kWaitForGo =
    "cat >/dev/null\n"
    "echo '{\"progress\":0.5}'\n"
    "while [ ! -e go ]; do sleep 0.05; done\n"
    "echo '{\"output\":{\"type\":\"text\",\"text\":\"done\"}}'\n";

class DrainTest : public SystemTest {
 protected:
  /// SIGTERM comes while a task runs, which ends after `meanwhile`.
  void stop_while_a_task_runs(const std::function<void(Client& before)>& meanwhile) {
    serve(config(process_model("wait", kWaitForGo)), "drain_timeout = \"60s\"");
    Client before = client();
    const auto task = before.submit("wait", "{}");
    ASSERT_TRUE(task);
    wait_until_running(before, *task);
    server_->signal(SIGTERM);

    meanwhile(before);
    EXPECT_TRUE(before.status(*task));
    std::ofstream(folder_.path() / "wait" / "go") << "";

    EXPECT_EQ(server_->reap(), 0);
    serve(config(process_model("wait", kWaitForGo)));
    const auto result = client().result(*task);
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(result->outputs.at(0).text, "done");
  }
};

TEST_F(DrainTest, FinishesWhatRunsBeforeItStops) {
  stop_while_a_task_runs([](Client& before) {
    // Draining shows by the first create that is refused; polls go on.
    for (;;) {
      const auto refused = before.submit("echo", "{}");
      if (refused) continue;
      EXPECT_EQ(refused.error().http_status, 503) << refused.error().message;
      EXPECT_GE(refused.error().retry_after, seconds{1});
      return;
    }
  });
}

TEST_F(DrainTest, IsNotEndedByASighup) {
  stop_while_a_task_runs([this](Client& /*before*/) {
    ASSERT_TRUE(eventually([&] { return ready_status() == 503; }));
    server_->signal(SIGHUP);
  });
}

TEST_F(DrainTest, BreaksOffTheEventStreamOfATaskThatDoesNotEndWithinIt) {
  serve(config(process_model("wait", kWaitForGo, "grace = \"1s\"")), "drain_timeout = \"100ms\"");
  Client before = client();
  const auto task = before.submit("wait", "{}");
  ASSERT_TRUE(task);
  wait_until_running(before, *task);
  const std::string& url = server_->url();
  http::RawClient stream(static_cast<std::uint16_t>(std::stoul(url.substr(url.rfind(':') + 1))));
  stream.send("GET /fal/quern/wait/requests/" + task->request_id +
              "/status/stream HTTP/1.1\r\nHost: quern\r\nAuthorization: Key " + kSecret +
              "\r\n\r\n");
  EXPECT_TRUE(stream.read_until("data: ").starts_with("HTTP/1.1 200 OK\r\n"));

  EXPECT_EQ(server_->terminate(), 0);

  const std::string rest = stream.read_to_end();
  EXPECT_TRUE(rest.ends_with("\n\n\r\n")) << rest;  // whole events, and no last chunk
}

TEST_F(DrainTest, HandsBackWhatStillRunsAtTheDeadlineWithoutSpendingTheAttempt) {
  const std::string models = process_model("wait", kWaitForGo, "attempts = 1\ngrace = \"1s\"");
  serve(config(models), "drain_timeout = \"100ms\"");
  Client before = client();
  const auto task = before.submit("wait", "{}");
  ASSERT_TRUE(task);
  wait_until_running(before, *task);

  EXPECT_EQ(server_->terminate(), 0);
  std::ofstream(folder_.path() / "wait" / "go") << "";
  serve(config(models));

  const auto result = client().wait(*task);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->outputs.at(0).text, "done");
}

}  // namespace
}  // namespace quern
