#pragma once
// A server, a folder, a client: what every system test begins with.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "quern/client.h"
#include "testing/eventually.h"
#include "testing/temp_folder.h"
#include "testing/test_server.h"

namespace quern {

inline constexpr const char* kSecret = "test-secret-of-one";
inline constexpr const char* kOtherSecret = "test-secret-of-two";

/// A runner that ends in success when the file `go` is there.
inline constexpr const char* kWaitForGo =
    "cat >/dev/null\n"
    "echo '{\"progress\":0.5}'\n"
    "while [ ! -e go ]; do sleep 0.05; done\n"
    "echo '{\"output\":{\"type\":\"text\",\"text\":\"done\"}}'\n";

/// Follows the task until it is IN_PROGRESS. No call of it is held: one that comes when the task runs
/// already would wait for what comes after that.
inline void wait_until_running(Client& client, const TaskHandle& task) {
  EXPECT_TRUE(eventually([&] {
    const auto asked = client.status(task);
    return asked && asked->status == TaskStatus::in_progress;
  })) << task.request_id;
}

class SystemTest : public ::testing::Test {
 protected:
  /// Two keys, an echo model, and the models of `more`.
  static std::string config(const std::string& more = "") {
    return std::string("[store]\nurl = \"sqlite:data\"\n") + "[[key]]\nid = \"one\"\nsecret = \"" +
           kSecret + "\"\nrate = \"100000/s\"\nqueued_max = 1000000\nadmin = true\n" +
           "[[key]]\nid = \"two\"\nsecret = \"" + kOtherSecret + "\"\nrate = \"100000/s\"\n" +
           "[[model]]\nid = \"echo\"\nexecutor = { kind = \"echo\" }\nconcurrency = 4\nqueued_max "
           "= 1000000\n" +
           more;
  }

  /// A model that runs `script` under sh, with the options of `more` in its entry.
  std::string process_model(const std::string& id, const std::string& script,
                            const std::string& more = "") {
    const std::filesystem::path dir = folder_.path() / id;
    std::filesystem::create_directories(dir);
    std::ofstream(dir / "run.sh") << script;
    return "[[model]]\nid = \"" + id +
           "\"\nexecutor = { kind = \"process\", command = [\"/bin/sh\", \"run.sh\"], dir = \"" +
           id + "\" }\nqueued_max = 1000000\n" + more + "\n";
  }

  /// Makes and starts the server; the test has failed if it does not come up.
  void serve(const std::string& config_text, const std::string& server_keys = "") {
    if (!server_) {
      server_ =
          std::make_unique<TestServer>(QUERN_BINARY, folder_.path(), config_text, server_keys);
      server_->set_environment(server_environment_);
    } else {
      server_->write_config(config_text, server_keys);  // keeps the port
    }
    ASSERT_TRUE(server_->start()) << server_->log();
  }

  [[nodiscard]] Client client(const char* secret = kSecret) const {
    return Client({.url = server_->url(), .key = secret, .repeats_max = 0});
  }

  /// Of /readyz; 0: no answer.
  [[nodiscard]] int ready_status() const {
    const auto ready = client().call("GET", "/readyz");
    return ready ? 200 : ready.error().http_status;
  }

  TempFolder folder_;
  std::vector<std::string> server_environment_;  // "NAME=value", beside the test's own
  std::unique_ptr<TestServer> server_;
};

}  // namespace quern
