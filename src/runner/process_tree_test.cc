#include "runner/process_tree.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <vector>

#include "testing/eventually.h"

namespace quern {
namespace {

using std::chrono::seconds;

// A process that waits for a signal, in a group of its own.
class Sleeper {
 public:
  Sleeper() : pid_(::fork()) {
    if (pid_ == 0) {
      ::setpgid(0, 0);
      for (;;) ::pause();
    }
    ::setpgid(pid_, pid_);
  }
  ~Sleeper() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;

  [[nodiscard]] ProcessMark mark() const {
    return {.pid = pid_, .started = find_process(pid_)->started};
  }
  [[nodiscard]] bool is_alive() const {
    const auto stat = find_process(pid_);
    return stat && !stat->dead;
  }

 private:
  pid_t pid_;
};

TEST(ProcessStat, IsReadWhateverTheCommandIsCalled) {
  const auto stat = parse_process_stat(
      "42 (a) R (b c) S 7 40 41 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654321 12 13");

  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->pid, 42);
  EXPECT_EQ(stat->parent, 7);
  EXPECT_EQ(stat->group, 40);
  EXPECT_EQ(stat->session, 41);
  EXPECT_EQ(stat->started, 987654321U);
  EXPECT_FALSE(stat->dead);
}

TEST(ProcessStat, IsNotMadeUpFromGarbage) {
  for (const char* text :
       {"", "42", "42 (x", "42 (x)", "42 (x) S", "42 (x) S 1 2 3 4", "x (y) S 1 2 3"}) {
    EXPECT_FALSE(parse_process_stat(text)) << text;
  }
}

TEST(ProcessStat, IsTrueOfThisProcess) {
  const auto stat = find_process(::getpid());

  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->parent, ::getppid());
  EXPECT_EQ(stat->group, ::getpgrp());
  EXPECT_GT(stat->started, 0U);
  EXPECT_FALSE(find_process(0));
}

TEST(ProcessScan, KillsAMarkedProcess) {
  ProcessScan scan;
  const Sleeper sleeper;
  const ProcessMark mark = sleeper.mark();

  EXPECT_EQ(scan.kill_trees({&mark, 1}, seconds(5)), 0U);

  EXPECT_FALSE(sleeper.is_alive());
}

TEST(ProcessScan, TellsWhoIsStillAlive) {
  ProcessScan scan;
  const Sleeper sleeper;
  const ProcessMark mark = sleeper.mark();
  std::vector<pid_t> survivors;
  const auto add = [&](const ProcessStat& stat) { survivors.push_back(stat.pid); };

  EXPECT_EQ(scan.kill_trees({&mark, 1}, seconds(0)), 1U) << "it was alive when it was looked at";
  scan.for_each_survivor(add);
  EXPECT_EQ(survivors, std::vector<pid_t>{mark.pid});

  EXPECT_EQ(scan.kill_trees({&mark, 1}, seconds(5)), 0U);
  survivors.clear();
  scan.for_each_survivor(add);
  EXPECT_TRUE(survivors.empty());
}

TEST(ProcessScan, SparesAProcessWithAnotherStartTime) {
  ProcessScan scan;
  const Sleeper sleeper;
  std::vector<ProcessMark> marks{sleeper.mark(), sleeper.mark()};
  marks[0].started -= 1;
  marks[1].started += 1;

  EXPECT_EQ(scan.kill_trees(marks, seconds(5)), 0U);

  EXPECT_TRUE(sleeper.is_alive());
}

}  // namespace
}  // namespace quern
