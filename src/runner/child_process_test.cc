#include "runner/child_process.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <string>

#include "testing/eventually.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

class ChildProcessTest : public ::testing::Test {
 protected:
  ChildProcessTest() : guard_(std::move(*ProcessGuard::start(folder_.path() / "running"))) {}

  Result<ChildProcess> start(std::vector<std::string> command,
                             std::vector<std::string> environment = {"PATH=/usr/bin:/bin"}) {
    return ChildProcess::start({.command = std::move(command),
                                .folder = folder_.path(),
                                .environment = std::move(environment)},
                               *guard_);
  }

  // A program, at a place in the folder.
  void write_hello(const std::string& place) const {
    const std::filesystem::path file = folder_.path() / place;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << "#!/bin/sh\necho hello\n";
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
  }

  static std::string read_all(const FileDescriptor& fd) {
    std::string text;
    std::array<char, 4096> buffer;
    pollfd item{.fd = fd.get(), .events = POLLIN, .revents = 0};
    while (::poll(&item, 1, 30'000) > 0) {
      const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
      if (got <= 0) break;
      text.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return text;
  }
  static ChildEnd end_of(ChildProcess& child) {
    pollfd item{.fd = child.exit_fd(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&item, 1, 30'000), 1);
    return child.end_tree();
  }

  TempFolder folder_;
  std::unique_ptr<ProcessGuard> guard_;
};

TEST_F(ChildProcessTest, RunsInItsFolderWithItsEnvironmentOnly) {
  auto child =
      start({"sh", "-c", "pwd; env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= -e ^OLDPWD= | sort"},
            {"PATH=/usr/bin:/bin", "COLOUR=blue"});

  ASSERT_TRUE(child);
  EXPECT_EQ(read_all(child->stdout_fd), std::filesystem::canonical(folder_.path()).string() +
                                            "\nCOLOUR=blue\nPATH=/usr/bin:/bin\n");
  EXPECT_TRUE(end_of(*child).is_success());
}

TEST_F(ChildProcessTest, GivesAProgramNothingOfTheServersFilesAndSignals) {
  ::signal(SIGUSR1, SIG_IGN);

  auto child =
      start({"sh", "-c", "ls /proc/self/fd | wc -l; grep -E 'SigIgn|SigBlk' /proc/self/status"});

  ::signal(SIGUSR1, SIG_DFL);
  ASSERT_TRUE(child);
  // Three streams, and the folder that ls reads.
  EXPECT_EQ(read_all(child->stdout_fd),
            "4\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
  end_of(*child);
}

TEST_F(ChildProcessTest, FindsAProgramRelativeToItsFolder) {
  write_hello("hello");

  auto child = start({"./hello"});

  ASSERT_TRUE(child);
  EXPECT_EQ(read_all(child->stdout_fd), "hello\n");
  end_of(*child);
}

TEST_F(ChildProcessTest, LooksForAProgramAmongFilesOnly) {
  std::filesystem::create_directories(folder_.path() / "first" / "hello");
  write_hello("second/hello");
  const std::string path = folder_.path().string();

  auto child = start({"hello"}, {"PATH=" + path + "/first:" + path + "/second:/usr/bin:/bin"});

  ASSERT_TRUE(child) << child.error().message;
  EXPECT_EQ(read_all(child->stdout_fd), "hello\n");
  end_of(*child);
}

TEST_F(ChildProcessTest, TakesARelativeFolderOfThePathForOneOfItsOwn) {
  write_hello("tools/hello");

  auto child = start({"hello"}, {"PATH=tools:/usr/bin:/bin"});

  ASSERT_TRUE(child) << child.error().message;
  EXPECT_EQ(read_all(child->stdout_fd), "hello\n");
  end_of(*child);
}

TEST_F(ChildProcessTest, HasTheUmaskThatItIsGiven) {
  const mode_t ours = ::umask(077);
  auto child = ChildProcess::start({.command = {"sh", "-c", "umask"},
                                    .folder = folder_.path(),
                                    .environment = {"PATH=/usr/bin:/bin"},
                                    .umask = 027},
                                   *guard_);

  EXPECT_EQ(::umask(ours), mode_t{077}) << "and the server keeps its own";
  ASSERT_TRUE(child);
  EXPECT_EQ(read_all(child->stdout_fd), "0027\n");
  end_of(*child);
}

TEST_F(ChildProcessTest, SaysWhyAProgramCannotStart) {
  std::ofstream(folder_.path() / "text") << "no program";

  EXPECT_EQ(start({"./missing"}).error().message,
            "could not start ./missing: No such file or directory");
  EXPECT_EQ(start({"missing"}).error().message,
            "could not start missing: No such file or directory");
  EXPECT_EQ(start({"./text"}).error().message, "could not start ./text: Permission denied");
  EXPECT_EQ(start({"/opt/secret/tool"}).error().message,
            "could not start tool: No such file or directory");
  const auto no_folder = ChildProcess::start(
      {.command = {"./x"}, .folder = folder_.path() / "none", .environment = {}}, *guard_);
  EXPECT_EQ(no_folder.error().message,
            "could not start ./x: its folder: No such file or directory");
}

TEST_F(ChildProcessTest, DescribesHowAProgramEnded) {
  auto failed = start({"sh", "-c", "exit 3"});
  auto crashed = start({"sh", "-c", "kill -SEGV $$"});

  EXPECT_EQ(end_of(*failed).describe(), "exit 3");
  EXPECT_EQ(end_of(*crashed).describe(), "signal 11 (Segmentation fault)");
}

TEST_F(ChildProcessTest, LeavesNoProcessBehindWhenItGoes) {
  pid_t pid = 0;
  {
    auto child = start({"sleep", "1000"});
    ASSERT_TRUE(child);
    pid = child->pid();
  }

  EXPECT_FALSE(find_process(pid));
}

TEST_F(ChildProcessTest, ReapsAGrandchildThatNobodyWaitedFor) {
  auto child = start({"sh", "-c", "sleep 1000 & echo $!; exit 0"});
  ASSERT_TRUE(child);
  std::array<char, 32> text{};
  pollfd item{.fd = child->stdout_fd.get(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(::poll(&item, 1, 30'000), 1);
  ASSERT_GT(::read(child->stdout_fd.get(), text.data(), text.size() - 1), 0);
  const pid_t grandchild = std::atoi(text.data());

  const ChildEnd end = end_of(*child);

  EXPECT_TRUE(end.all_dead);
  EXPECT_FALSE(find_process(grandchild));  // not even a zombie
}

}  // namespace
}  // namespace quern
