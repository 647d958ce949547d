#include "base/awake_core.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/types.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "testing/eventually.h"

namespace quern {
namespace {

using std::chrono::milliseconds;

/// The thread that keeps a core awake, 0: there is none.
pid_t find_thread() {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    if (name == "quern-awake") return std::atoi(task.path().filename().c_str());
  }
  return 0;
}

/// As in /proc/self/task/ID/stat: R runs or is ready to, S sleeps.
char state_of(pid_t thread) {
  std::string stat;
  std::getline(std::ifstream("/proc/self/task/" + std::to_string(thread) + "/stat"), stat);
  const std::size_t name_end = stat.rfind(')');
  return name_end == std::string::npos ? '?' : stat.at(name_end + 2);
}

class AwakeCoreTest : public testing::Test {
 protected:
  pid_t thread() {
    EXPECT_TRUE(eventually([] { return find_thread() != 0; }));
    return find_thread();
  }
};

TEST_F(AwakeCoreTest, BeginsNoThreadUntilItIsAskedTo) {
  const AwakeCore core;

  EXPECT_EQ(find_thread(), 0);
}

TEST_F(AwakeCoreTest, TurnsUntilTheTimeIsOverAndAgainWhenItIsAsked) {
  AwakeCore core;
  core.keep_for(std::chrono::hours(1));
  const pid_t kept = thread();
  EXPECT_TRUE(eventually([&] { return state_of(kept) == 'R'; }));

  core.keep_for(milliseconds(1));
  EXPECT_TRUE(eventually([&] { return state_of(kept) == 'S'; }));

  core.keep_for(std::chrono::hours(1));
  EXPECT_TRUE(eventually([&] { return state_of(kept) == 'R'; }));
  EXPECT_EQ(find_thread(), kept);
}

TEST_F(AwakeCoreTest, TakesTheCoreFromNobody) {
  AwakeCore core;
  core.keep_for(std::chrono::hours(1));

  const pid_t kept = thread();
  EXPECT_TRUE(eventually([&] { return ::sched_getscheduler(kept) == SCHED_IDLE; }));
}

TEST_F(AwakeCoreTest, KeepsTheCoreOfWhoeverAsks) {
  cpu_set_t before;
  ASSERT_EQ(::pthread_getaffinity_np(::pthread_self(), sizeof before, &before), 0);
  AwakeCore core;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &before)) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ASSERT_EQ(::pthread_setaffinity_np(::pthread_self(), sizeof one, &one), 0);

    core.keep_for(std::chrono::hours(1));

    const pid_t kept = thread();
    EXPECT_TRUE(eventually([&] {
      cpu_set_t its;
      return ::sched_getaffinity(kept, sizeof its, &its) == 0 && CPU_EQUAL(&its, &one) != 0;
    })) << cpu;
  }
  ASSERT_EQ(::pthread_setaffinity_np(::pthread_self(), sizeof before, &before), 0);
}

TEST_F(AwakeCoreTest, EndsWhileItIsKept) {
  auto core = std::make_unique<AwakeCore>();
  core->keep_for(std::chrono::hours(1));
  EXPECT_NE(thread(), 0);

  core.reset();

  EXPECT_EQ(find_thread(), 0);
}

}  // namespace
}  // namespace quern
