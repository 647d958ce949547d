#include "runner/process_guard.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iterator>
#include <string>
#include <vector>

#include "runner/child_process.h"
#include "runner/guard_process.h"
#include "testing/eventually.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

bool is_alive(pid_t pid) {
  const auto stat = find_process(pid);
  return stat && !stat->dead;
}

// As the kernel tells when a process started.
std::uint64_t ticks_since_boot() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  const auto ticks = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  return static_cast<std::uint64_t>(now.tv_sec) * ticks +
         static_cast<std::uint64_t>(now.tv_nsec) * ticks / 1'000'000'000;
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

class ProcessGuardTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path state_file() const { return folder_.path() / "running"; }

  std::unique_ptr<ProcessGuard> start_guard() {
    auto guard = ProcessGuard::start(state_file());
    EXPECT_TRUE(guard.has_value());
    return std::move(*guard);
  }

  // Each process of a tree writes a file named by its pid.
  ChildProcess start_tree(ProcessGuard& guard, const std::string& script) {
    const std::string tmp = folder_.path().string();
    auto child = ChildProcess::start({.command = {"/bin/sh", "-c", script},
                                      .folder = folder_.path(),
                                      .environment = {"PATH=/usr/bin:/bin", "TMPDIR=" + tmp},
                                      .tag = tag_of(tmp)},
                                     guard);
    EXPECT_TRUE(child.has_value());
    return std::move(*child);
  }

  // A server process of the test's own: runs `serve`, says that it is ready, and waits to be
  // killed.
  pid_t start_server(const std::function<void()>& serve) {
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    serve();
    std::ofstream(folder_.path() / "ready") << "ready";
    for (;;) ::pause();
  }

  // Of a session of its own, and no runner.
  static pid_t start_helper() {
    const pid_t helper = ::fork();
    if (helper == 0) {
      ::close_range(3, ~0U, 0);  // else the guard would wait for it
      ::setsid();
      for (;;) ::pause();
    }
    EXPECT_TRUE(eventually([&] { return ::getsid(helper) == helper; }));
    return helper;
  }
  // Unless that was done: its number may be another's by then.
  static void end_helper(pid_t helper) {
    if (::waitpid(helper, nullptr, WNOHANG) == 0) kill_and_reap(helper);
  }

  // Runs `work` in a process that all others of its namespace end with; its exit status, or kSkipped.
  static int run_as_first_process(const std::function<void()>& work) {
    const pid_t outer = ::fork();
    if (outer == 0) {
      if (::unshare(CLONE_NEWPID | CLONE_NEWNS) != 0) ::_exit(kSkipped);
      const pid_t first = ::fork();
      if (first == 0) {
        const bool mounted = ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                             ::mount("proc", "/proc", "proc", 0, nullptr) == 0;
        if (mounted) work();
        ::_exit(kSkipped);
      }
      ::_exit(exit_status(first));
    }
    return exit_status(outer);
  }
  static int exit_status(pid_t pid) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  }
  static constexpr int kSkipped = 77;

  // Runs `work` in a process of a user without rights, beside a program `as-root`; 0, or kSkipped.
  int run_as_nobody(const std::function<void()>& work) const {
    constexpr uid_t kNobody = 65'534;
    const std::filesystem::path as_root = folder_.path() / "as-root";
    std::filesystem::copy_file("/usr/bin/setpriv", as_root);
    ::chmod(as_root.c_str(), S_ISUID | 0755);
    ::chmod(folder_.path().c_str(), 0777);
    const pid_t child = ::fork();
    if (child == 0) {
      const bool is_nobody = ::setresgid(kNobody, kNobody, kNobody) == 0 &&
                             ::setresuid(kNobody, kNobody, kNobody) == 0;
      const std::string check = as_root.string() + " --reuid=0 true 2>/dev/null";
      if (!is_nobody || std::system(check.c_str()) != 0) ::_exit(kSkipped);
      work();
      ::_exit(HasFailure() ? 1 : 0);
    }
    return exit_status(child);
  }
  // In a file, whose name comes before its content.
  pid_t wait_for_pid(const char* file) const {
    pid_t pid = 0;
    EXPECT_TRUE(
        eventually([&] { return static_cast<bool>(std::ifstream(folder_.path() / file) >> pid); }));
    return pid;
  }

  std::vector<pid_t> wait_for_pids(std::size_t count) {
    std::vector<pid_t> pids;
    EXPECT_TRUE(eventually([&] {
      pids.clear();
      for (const auto& item : std::filesystem::directory_iterator(folder_.path())) {
        if (item.path().extension() == ".pid") pids.push_back(std::stoi(item.path().stem()));
      }
      return pids.size() >= count;
    }));
    EXPECT_EQ(pids.size(), count);
    return pids;
  }
  bool wait_until_ready() {
    return eventually([&] { return std::filesystem::exists(folder_.path() / "ready"); });
  }
  static bool all_vanish(const std::vector<pid_t>& pids) {
    return eventually([&] { return std::ranges::none_of(pids, is_alive); });
  }
  static void kill_and_reap(pid_t pid) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }

  // A leader, a child of its group, a grandchild in a session of its own, and a daemon whose parent
  // is gone.
  static constexpr const char* kTree =
      "touch $$.pid\n"
      "sh -c 'touch $$.pid; exec sleep 1000' &\n"
      "sh -c 'setsid sh -c \"touch \\$\\$.pid; exec sleep 1000\" & wait' &\n"
      "(setsid sh -c 'touch $$.pid; exec sleep 1000' &)\n"
      "wait";
  static constexpr std::size_t kTreeSize = 4;

  // Until there is a file `end`.
  static constexpr const char* kProcessOfRoot =
      "./as-root --reuid=0 sh -c 'echo $$ >of-root; while ! [ -e end ]; do sleep 0.01; done'";
  static std::string with_process_of_root() {
    return std::string(
               "(setsid sh -c 'echo $$ >ours; exec sleep 1000' >/dev/null 2>&1 </dev/null &)\n") +
           "(setsid " + kProcessOfRoot + " >/dev/null 2>&1 </dev/null &)\nwait";
  }

  // A guard that reads nothing for now, behind a pipe of one page.
  static void suspend(const ProcessGuard& guard) {
    ASSERT_GT(::fcntl(guard.pipe(), F_SETPIPE_SZ, 1), 0);
    ::kill(guard.pid(), SIGSTOP);
    ASSERT_EQ(::waitpid(guard.pid(), nullptr, WUNTRACED), guard.pid());
  }
  // Of a tree that is none: no process has such a number.
  static ProcessMark mark_of(int number) { return {.pid = 5'000'000 + number, .started = 1}; }
  static void add_trees(ProcessGuard& guard, int count) {
    for (int i = 0; i < count; ++i) guard.add(mark_of(i), false);
  }
  bool comes_to_know(ProcessGuard& guard, std::size_t trees) {
    return eventually([&] {
      guard.reap_orphans();
      return read_guard_state(state_file()).size() == trees;
    });
  }

  static constexpr int kMoreThanAPipeHolds = 500;  // records, of a page

  TempFolder folder_;
};

TEST_F(ProcessGuardTest, EndsEveryTreeAfterTheServerWasKilled) {
  const pid_t server = start_server([&] {
    auto guard = start_guard();
    auto child = start_tree(*guard, kTree);
    [[maybe_unused]] auto* kept = new ChildProcess(std::move(child));
    [[maybe_unused]] auto* kept_guard = guard.release();
  });
  ASSERT_TRUE(wait_until_ready());
  const std::vector<pid_t> pids = wait_for_pids(kTreeSize);
  ASSERT_TRUE(std::ranges::all_of(pids, is_alive));

  kill_and_reap(server);

  EXPECT_TRUE(all_vanish(pids));
  EXPECT_TRUE(eventually([&] { return std::filesystem::file_size(state_file()) == 0; }));
}

TEST_F(ProcessGuardTest, EndsWhatAKilledGuardLeftWhenTheNextServerStarts) {
  const pid_t server = start_server([&] {
    auto guard = start_guard();
    auto child = start_tree(*guard, kTree);
    [[maybe_unused]] auto* kept = new ChildProcess(std::move(child));
    std::ofstream(folder_.path() / "guard") << guard->pid() << std::flush;
    [[maybe_unused]] auto* kept_guard = guard.release();
  });
  ASSERT_TRUE(wait_until_ready());
  const std::vector<pid_t> pids = wait_for_pids(kTreeSize);
  const pid_t leader = read_guard_state(state_file()).at(0).pid;
  EXPECT_TRUE(std::ranges::count(pids, leader) == 1);
  ::kill(std::stoi(read_file(folder_.path() / "guard")), SIGKILL);
  kill_and_reap(server);
  ASSERT_TRUE(std::ranges::all_of(pids, is_alive));

  const auto next = start_guard();

  EXPECT_TRUE(std::ranges::none_of(pids, is_alive));
}

TEST_F(ProcessGuardTest, IsStartedAgainWhenItWasKilled) {
  auto guard = start_guard();
  const pid_t first = guard->pid();
  auto before = start_tree(*guard, "sleep 1000");
  kill_and_reap(first);

  auto after = start_tree(*guard, "sleep 1000");

  EXPECT_NE(guard->pid(), first);
  EXPECT_TRUE(is_alive(guard->pid()));
  EXPECT_TRUE(eventually([&] { return read_guard_state(state_file()).size() == 2; }));
}

TEST_F(ProcessGuardTest, IsToldOfEveryTreeWhenItIsStartedAgain) {
  constexpr int kMoreThanANewPipeHolds = 6'000;
  auto guard = start_guard();
  add_trees(*guard, kMoreThanANewPipeHolds);
  kill_and_reap(guard->pid());

  guard->remove(mark_of(0));

  EXPECT_TRUE(comes_to_know(*guard, kMoreThanANewPipeHolds - 1));
}

TEST_F(ProcessGuardTest, IsToldOfEveryTreeThoughItWasSlow) {
  auto guard = start_guard();
  suspend(*guard);
  add_trees(*guard, kMoreThanAPipeHolds);
  const auto child = start_tree(*guard, "sleep 1000");

  ::kill(guard->pid(), SIGCONT);

  EXPECT_TRUE(comes_to_know(*guard, kMoreThanAPipeHolds + 1));
  EXPECT_EQ(read_guard_state(state_file()).back().pid, child.pid());
}

TEST_F(ProcessGuardTest, IsToldOfEveryEndThoughItWasSlow) {
  auto guard = start_guard();
  add_trees(*guard, kMoreThanAPipeHolds);
  ASSERT_TRUE(comes_to_know(*guard, kMoreThanAPipeHolds));
  suspend(*guard);
  for (int i = 0; i < kMoreThanAPipeHolds; ++i) guard->remove(mark_of(i));
  // These end before the guard can have heard of them.
  add_trees(*guard, kMoreThanAPipeHolds);
  for (int i = 1; i < kMoreThanAPipeHolds; ++i) guard->remove(mark_of(i));

  ::kill(guard->pid(), SIGCONT);

  EXPECT_TRUE(comes_to_know(*guard, 1));
  EXPECT_EQ(read_guard_state(state_file()).at(0).pid, mark_of(0).pid);
}

TEST_F(ProcessGuardTest, EndsATreeThatASlowGuardHeardOfLate) {
  const pid_t server = start_server([&] {
    auto guard = start_guard();
    suspend(*guard);
    add_trees(*guard, kMoreThanAPipeHolds);
    auto child = start_tree(*guard, kTree);
    ::kill(guard->pid(), SIGCONT);
    EXPECT_TRUE(comes_to_know(*guard, kMoreThanAPipeHolds + 1));
    [[maybe_unused]] auto* kept = new ChildProcess(std::move(child));
    [[maybe_unused]] auto* kept_guard = guard.release();
  });
  ASSERT_TRUE(wait_until_ready());
  const std::vector<pid_t> pids = wait_for_pids(kTreeSize);

  kill_and_reap(server);

  EXPECT_TRUE(all_vanish(pids));
}

TEST_F(ProcessGuardTest, ForgetsATreeThatHasEnded) {
  auto guard = start_guard();
  auto child = start_tree(*guard, "exit 0");

  child.end_tree();

  EXPECT_TRUE(eventually([&] {
    // The header stands first, so an empty list is one that was read.
    return read_file(state_file()).size() == 128 && read_guard_state(state_file()).empty();
  }));
}

TEST_F(ProcessGuardTest, SparesWhoWasThereBeforeIt) {
  const pid_t helper = start_helper();
  ASSERT_TRUE(eventually([&] { return ticks_since_boot() > find_process(helper)->started + 1; }));
  auto guard = start_guard();

  EXPECT_TRUE(start_tree(*guard, "exit 0").end_tree().all_dead);

  EXPECT_TRUE(is_alive(helper));
  kill_and_reap(helper);
}

TEST_F(ProcessGuardTest, SparesStrangersWhereItIsTheFirstOfItsNamespace) {
  const auto spares_a_stranger = [&] {
    auto guard = start_guard();
    const pid_t stranger = start_helper();
    start_tree(*guard, "exit 0").end_tree();
    return is_alive(stranger);
  };
  const int status = run_as_first_process([&] { ::_exit(spares_a_stranger() ? 0 : 1); });
  if (status == kSkipped) GTEST_SKIP() << "no right to make a namespace of processes here";
  EXPECT_EQ(status, 0);
}

TEST_F(ProcessGuardTest, EndsAnOrphanWithoutASignOfWhoseItIs) {
  auto guard = start_guard();
  auto child = start_tree(*guard,
                          "(env -i setsid sh -c 'touch $$.pid; exec sleep 1000' "
                          "> /dev/null 2>&1 < /dev/null &)\n");
  const std::vector<pid_t> pids = wait_for_pids(1);

  EXPECT_TRUE(child.end_tree().all_dead);

  EXPECT_TRUE(std::ranges::none_of(pids, is_alive));
}

TEST_F(ProcessGuardTest, EndsAnOrphanWithoutASignOnceRunnersThatEndTogetherHaveEnded) {
  auto guard = start_guard();
  add_trees(*guard, 2);
  const pid_t orphan = start_helper();

  EXPECT_TRUE(guard->end_orphans(mark_of(0)));
  EXPECT_TRUE(is_alive(orphan)) << "it may be of the runner that is left";
  EXPECT_TRUE(guard->end_orphans(mark_of(1)));

  EXPECT_FALSE(is_alive(orphan));
  for (const int number : {0, 1}) guard->remove(mark_of(number));
  end_helper(orphan);
}

TEST_F(ProcessGuardTest, EndsAnOrphanWithoutASignWithTheServerThatStopsInOrder) {
  auto guard = start_guard();
  const pid_t orphan = start_helper();

  guard.reset();

  EXPECT_FALSE(is_alive(orphan));
  end_helper(orphan);
}

TEST_F(ProcessGuardTest, IsToldWhenItIsStartedAgainOfATreeThatIsJustEnded) {
  auto guard = start_guard();
  add_trees(*guard, 2);
  guard->end_orphans(mark_of(0));
  kill_and_reap(guard->pid());

  guard->remove(mark_of(1));

  EXPECT_TRUE(comes_to_know(*guard, 1));
  EXPECT_EQ(read_guard_state(state_file()).at(0).pid, mark_of(0).pid);
}

// What SIGKILL does not end is asleep in a driver or, as here, not ours to kill.
TEST_F(ProcessGuardTest, GivesUpAnOrphanThatCannotBeKilledAndLetsNobodyElseWaitForIt) {
  const int status = run_as_nobody([&] {
    auto guard = start_guard();
    auto child = start_tree(*guard, with_process_of_root());
    const pid_t of_root = wait_for_pid("of-root");
    const pid_t ours = wait_for_pid("ours");

    auto end = std::async(std::launch::async, [&] { return child.end_tree(); });
    EXPECT_TRUE(all_vanish({ours})) << "they are being ended";
    auto other = start_tree(*guard, "sleep 1000");
    EXPECT_NE(end.wait_for(std::chrono::seconds(0)), std::future_status::ready)
        << "others start meanwhile";
    EXPECT_FALSE(end.get().all_dead);

    EXPECT_TRUE(other.end_tree().all_dead);
    EXPECT_TRUE(start_tree(*guard, "exit 0").end_tree().all_dead);
    EXPECT_TRUE(is_alive(of_root)) << "else this shows nothing";
  });
  if (status == kSkipped) GTEST_SKIP() << "no right to make a program that runs as root";
  ::kill(wait_for_pid("of-root"), SIGKILL);
  EXPECT_EQ(status, 0);
}

TEST_F(ProcessGuardTest, GivesUpARunnerThatCannotBeKilledAndLetsNobodyElseWaitForIt) {
  const int status = run_as_nobody([&] {
    auto guard = start_guard();
    auto child = start_tree(*guard, std::string("exec ") + kProcessOfRoot);
    wait_for_pid("of-root");
    EXPECT_FALSE(child.end_tree().all_dead);

    EXPECT_TRUE(start_tree(*guard, "exit 0").end_tree().all_dead);
    EXPECT_TRUE(is_alive(child.pid())) << "else this shows nothing";
  });
  if (status == kSkipped) GTEST_SKIP() << "no right to make a program that runs as root";
  ::kill(wait_for_pid("of-root"), SIGKILL);
  EXPECT_EQ(status, 0);
}

TEST_F(ProcessGuardTest, ReapsWhatItHadGivenUpOnceThatHasEnded) {
  const int status = run_as_nobody([&] {
    auto guard = start_guard();
    auto child = start_tree(*guard, with_process_of_root());
    const pid_t of_root = wait_for_pid("of-root");
    EXPECT_FALSE(child.end_tree().all_dead);

    std::ofstream(folder_.path() / "end") << "";

    EXPECT_TRUE(eventually([&] {
      guard->reap_orphans();
      return !find_process(of_root);
    }));
  });
  if (status == kSkipped) GTEST_SKIP() << "no right to make a program that runs as root";
  EXPECT_EQ(status, 0);
}

TEST_F(ProcessGuardTest, EndsWithTheServerThatStopsInOrder) {
  auto guard = start_guard();
  const pid_t pid = guard->pid();

  guard.reset();

  EXPECT_FALSE(find_process(pid));
  EXPECT_EQ(std::filesystem::file_size(state_file()), 0U);
}

TEST_F(ProcessGuardTest, OutlivesTheSignalsThatEndAServer) {
  const auto guard = start_guard();
  const auto child = start_tree(*guard, "sleep 1000");
  ASSERT_TRUE(eventually([&] { return !read_guard_state(state_file()).empty(); }));

  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) ::kill(guard->pid(), signal);

  EXPECT_TRUE(is_alive(guard->pid()));
  EXPECT_NE(find_process(guard->pid())->session, ::getsid(0));
}

TEST_F(ProcessGuardTest, TakesTheCoreFromNobodyWhenItIsTold) {
  const auto guard = start_guard();

  // It says so itself, soon after its start.
  EXPECT_TRUE(eventually([&] { return ::sched_getscheduler(guard->pid()) == SCHED_BATCH; }));
}

TEST_F(ProcessGuardTest, TakesNothingFromAnEarlierBootOrADamagedFile) {
  std::string id = read_file("/proc/sys/kernel/random/boot_id");
  id.pop_back();
  const auto written = [&](const std::string& text) {
    std::ofstream(state_file()) << text;
    return read_guard_state(state_file()).size();
  };

  EXPECT_EQ(written(id + "\n4242 17 5\n"), 1U);
  EXPECT_EQ(written("00000000-0000-0000-0000-000000000000\n4242 17 5\n"), 0U);
  EXPECT_EQ(written(id + "\n1 17 5\n-7 17 5\n0 1 1\nx\n4242\n\n  \n"), 0U);
  EXPECT_EQ(written(""), 0U);
  EXPECT_EQ(written("\n4242 17 5\n"), 0U);
}

TEST_F(ProcessGuardTest, SaysWhatItCannotWrite) {
  const auto guard = ProcessGuard::start(folder_.path() / "missing" / "running");

  ASSERT_FALSE(guard);
  EXPECT_EQ(guard.error().code, ErrorCode::unavailable);
  EXPECT_NE(guard.error().message.find("missing/running"), std::string::npos);
}

}  // namespace
}  // namespace quern
