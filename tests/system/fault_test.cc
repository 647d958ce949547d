// What the machine may do to a server: a full disk, a disk that cannot be written, no descriptors.

#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <array>
#include <filesystem>
#include <vector>

#include "testing/eventually.h"
#include "tests/system/system_fixture.h"
#include "tests/system/task_history.h"

namespace quern {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

// A small file system in memory at a folder, in a mount namespace that this thread and the servers
// it starts share with nobody.
class SmallDisk {
 public:
  SmallDisk(fs::path folder, const char* options) : folder_(std::move(folder)) {
    fs::create_directories(folder_);
    const bool alone = ::unshare(CLONE_NEWNS) == 0 &&
                       ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    mounted_ = alone && ::mount("quern-test", folder_.c_str(), "tmpfs", 0, options) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(folder_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  [[nodiscard]] bool is_mounted() const { return mounted_; }

  /// Takes all the space that is left.
  void fill() const {
    std::ofstream file(filler(), std::ios::binary);
    const std::vector<char> block(4096, 'x');
    while (file.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
  }
  void make_room() const { fs::remove(filler()); }

 private:
  [[nodiscard]] fs::path filler() const { return folder_ / "filler"; }

  fs::path folder_;
  bool mounted_ = false;
};

constexpr const char* kNoMount = "this user may not mount a small file system";

class FaultTest : public SystemTest {
 protected:
  // Fails until the disk is full, then tells the status of the refused create.
  int submit_until_refused(Client& caller, std::vector<TaskHandle>& acknowledged) {
    const std::string input = R"({"prompt":")" + std::string(8'000, 'x') + R"("})";
    for (int i = 0; i < 20'000; ++i) {
      const auto task = caller.submit("echo", input);
      if (!task) return task.error().http_status;
      acknowledged.push_back(*task);
    }
    return 200;
  }
};

TEST_F(FaultTest, RefusesCreatesOnAFullDiskLosesNothingAndGoesOnWhenThereIsRoom) {
  const SmallDisk disk(folder_.path() / "data", "size=24m");
  if (!disk.is_mounted()) GTEST_SKIP() << kNoMount;
  serve(config());
  Client caller = client();
  std::vector<TaskHandle> acknowledged;
  acknowledged.push_back(*caller.submit("echo", "{}"));

  disk.fill();
  EXPECT_EQ(submit_until_refused(caller, acknowledged), 502);
  EXPECT_TRUE(caller.status(acknowledged.front())) << "polls go on";
  EXPECT_EQ(ready_status(), 503);

  disk.make_room();
  EXPECT_TRUE(eventually([&] { return ready_status() == 200; })) << "it must resume by itself";
  const auto task = caller.submit("echo", "{}");
  ASSERT_TRUE(task) << task.error().message;
  acknowledged.push_back(*task);
  for (const TaskHandle& each : acknowledged) {
    const auto result = caller.wait(each);
    EXPECT_TRUE(result) << each.request_id << ": " << result.error().message;
  }
  EXPECT_EQ(server_->terminate(), 0);
}

TEST_F(FaultTest, SurvivesACrashOnAFullDisk) {
  const SmallDisk disk(folder_.path() / "data", "size=24m");
  if (!disk.is_mounted()) GTEST_SKIP() << kNoMount;
  serve(config());
  std::vector<TaskHandle> acknowledged;
  {
    Client caller = client();
    ASSERT_TRUE(caller.call("POST", "/admin/models/echo/pause"));
    for (int i = 0; i < 50; ++i) acknowledged.push_back(*caller.submit("echo", "{}"));
    disk.fill();
    EXPECT_EQ(submit_until_refused(caller, acknowledged), 502);
  }
  server_->kill();
  disk.make_room();
  serve(config());

  Client caller = client();
  ASSERT_TRUE(caller.call("POST", "/admin/models/echo/resume"));
  for (const TaskHandle& each : acknowledged) EXPECT_TRUE(caller.wait(each)) << each.request_id;
}

TEST_F(FaultTest, SaysThatItCannotWriteItsDataFolder) {
  const SmallDisk disk(folder_.path() / "data", "size=4m,ro");
  if (!disk.is_mounted()) GTEST_SKIP() << kNoMount;
  TestServer server(QUERN_BINARY, folder_.path(), config());

  EXPECT_FALSE(server.start());

  EXPECT_EQ(server.reap(), 1);
  EXPECT_NE(server.log().find("quern: "), std::string::npos) << server.log();
  const bool says_why = server.log().find("ead-only") != std::string::npos ||
                        server.log().find("cannot be written") != std::string::npos;
  EXPECT_TRUE(says_why) << server.log();
}

// Connections that hold descriptors of the server.
class ManyConnections {
 public:
  ManyConnections(int port, int count) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < count; ++i) {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      // Whether it is taken or waits in the server's backlog is all the same.
      (void)::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to));
      fds_.push_back(fd);
    }
  }
  ~ManyConnections() {
    for (const int fd : fds_) ::close(fd);
  }
  ManyConnections(const ManyConnections&) = delete;
  ManyConnections& operator=(const ManyConnections&) = delete;

 private:
  std::vector<int> fds_;
};

std::size_t descriptors_of(pid_t pid) {
  const fs::path folder = fs::path("/proc") / std::to_string(pid) / "fd";
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST_F(FaultTest, GoesOnOnceItHasDescriptorsAgain) {
#if defined(__SANITIZE_ADDRESS__)
  // UBSan looks at memory through a pipe of its own, and ends a server that cannot make one.
  GTEST_SKIP() << "a sanitized server needs descriptors to check itself";
#endif
  serve(config(process_model(
      "hello", "cat >/dev/null\necho '{\"output\":{\"type\":\"text\",\"text\":\"hello\"}}'\n",
      "attempts = 100\nbackoff_min = \"50ms\"\nbackoff_max = \"200ms\"")));
  Client caller = client();
  ASSERT_TRUE(caller.call("POST", "/admin/models/hello/pause"));
  const auto task = caller.submit("hello", "{}");
  ASSERT_TRUE(task);
  const std::size_t limit = descriptors_of(server_->pid()) + 4;
  rlimit before{};
  ASSERT_EQ(::prlimit(server_->pid(), RLIMIT_NOFILE, nullptr, &before), 0);
  const rlimit few{limit, before.rlim_max};
  ASSERT_EQ(::prlimit(server_->pid(), RLIMIT_NOFILE, &few, nullptr), 0);

  {
    const ManyConnections crowd(server_->port(), 200);
    EXPECT_TRUE(eventually([&] { return descriptors_of(server_->pid()) >= limit; }));
    // The connection from before still works, and a runner that cannot start does no harm.
    ASSERT_TRUE(caller.call("POST", "/admin/models/hello/resume"));
    EXPECT_TRUE(caller.status(*task));
    ASSERT_TRUE(server_->is_running());
  }

  EXPECT_TRUE(eventually([&] { return client().call("GET", "/healthz").has_value(); }));
  ASSERT_EQ(::prlimit(server_->pid(), RLIMIT_NOFILE, &before, nullptr), 0);
  const auto result = caller.wait(*task);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->outputs.at(0).text, "hello");
}

// A server that is started while it lives may open few files.
class FewFiles {
 public:
  FewFiles() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit few{kSoft, kHard};
    ::setrlimit(RLIMIT_NOFILE, &few);
  }
  ~FewFiles() {
    if (::setrlimit(RLIMIT_NOFILE, &before_) == 0) return;
    const rlimit all{kHard, kHard};  // who is not root cannot take more back
    ::setrlimit(RLIMIT_NOFILE, &all);
  }
  FewFiles(const FewFiles&) = delete;
  FewFiles& operator=(const FewFiles&) = delete;

  static constexpr rlim_t kSoft = 256;
  static constexpr rlim_t kHard = 600;

 private:
  rlimit before_{};
};

TEST_F(FaultTest, RunsTasksBesideAllTheConnectionsThatItTakes) {
  const std::string model = process_model("limit", R"sh(cat >/dev/null
echo '{"output":{"type":"text","text":"'"$(ulimit -n)"'"}}'
)sh");
  {
    const FewFiles few;
    serve(config(model));
  }
  Client caller = client();
  ASSERT_TRUE(caller.call("GET", "/healthz"));
  EXPECT_NE(server_->log().find("fewer connections are taken"), std::string::npos);

  const ManyConnections crowd(server_->port(), 500);
  EXPECT_TRUE(eventually([&] {
    const auto metrics = caller.call("GET", "/metrics");
    return metrics &&
           metrics->find("\nquern_http_connections_refused_total 0\n") == std::string::npos;
  }));
  const auto task = caller.submit("limit", "{}");
  ASSERT_TRUE(task) << task.error().message;
  const auto result = caller.wait(*task);

  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->outputs.at(0).text, std::to_string(FewFiles::kSoft))
      << "a program has the limit that the server was given";
  EXPECT_EQ(server_->log().find("no tasks can be started"), std::string::npos);
  EXPECT_EQ(server_->log().find("Cannot accept connections"), std::string::npos);
}

}  // namespace
}  // namespace quern
