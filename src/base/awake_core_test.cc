#include "base/awake_core.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>

#include "testing/eventually.h"

namespace quern {
namespace {

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
  /// Asks until the thread turns: on a busy machine it is taken for one that is in the way.
  static bool turns(AwakeCore& core, pid_t thread) {
    return eventually([&] {
      core.keep_for(std::chrono::hours(1));
      return state_of(thread) == 'R';
    });
  }
  pid_t thread() {
    EXPECT_TRUE(eventually([] { return find_thread() != 0; }));
    return find_thread();
  }
};

TEST_F(AwakeCoreTest, BeginsNoThreadUntilItIsAskedTo) {
  const auto threads = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
  };
  const auto before = threads();

  const AwakeCore core;

  EXPECT_EQ(threads(), before);
}

TEST_F(AwakeCoreTest, TurnsUntilTheTimeIsOverAndAgainWhenItIsAsked) {
  AwakeCore core;
  core.keep_for(std::chrono::hours(1));
  const pid_t kept = thread();
  EXPECT_TRUE(turns(core, kept));

  EXPECT_TRUE(eventually([&] {
    core.keep_for(std::chrono::microseconds(1));
    return state_of(kept) == 'S';
  }));

  EXPECT_TRUE(turns(core, kept));
  EXPECT_EQ(find_thread(), kept);
}

TEST_F(AwakeCoreTest, HasALowerPriorityThanWhoeverAsks) {
  AwakeCore core;
  core.keep_for(std::chrono::hours(1));

  const auto kept = static_cast<id_t>(thread());
  const auto own = static_cast<id_t>(::gettid());
  EXPECT_TRUE(eventually(
      [&] { return ::getpriority(PRIO_PROCESS, kept) > ::getpriority(PRIO_PROCESS, own); }));
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
      core.keep_for(std::chrono::hours(1));
      cpu_set_t its;
      return ::sched_getaffinity(kept, sizeof its, &its) == 0 && CPU_EQUAL(&its, &one) != 0;
    })) << cpu;
  }
  ASSERT_EQ(::pthread_setaffinity_np(::pthread_self(), sizeof before, &before), 0);
}

TEST_F(AwakeCoreTest, LeavesACoreAloneThatHasSomethingToDo) {
  cpu_set_t before;
  ASSERT_EQ(::pthread_getaffinity_np(::pthread_self(), sizeof before, &before), 0);
  const int cpu = ::sched_getcpu();
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<std::size_t>(cpu), &one);
  ASSERT_EQ(::pthread_setaffinity_np(::pthread_self(), sizeof one, &one), 0);
  AwakeCore core;
  core.keep_for(std::chrono::hours(1));
  const pid_t kept = thread();
  std::atomic<bool> is_over{false};
  std::thread busy([&] {  // on the same core, as it is begun there
    while (!is_over) {
    }
  });

  EXPECT_TRUE(eventually([&] { return state_of(kept) == 'S'; }));
  for (int call = 1; call < AwakeCore::kLeftOutMin; ++call) core.keep_for(std::chrono::hours(1));
  EXPECT_EQ(state_of(kept), 'S');

  is_over = true;
  busy.join();
  EXPECT_TRUE(turns(core, kept));
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
