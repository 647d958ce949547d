// A cancel stops the work itself: processes, not only records.

#include <atomic>
#include <chrono>
#include <thread>

#include "tests/system/runner_census.h"
#include "tests/system/system_fixture.h"
#include "tests/system/task_history.h"

namespace quern {
namespace {

using std::chrono::seconds;

// Ignores SIGTERM, as do its child and grandchild.
constexpr const char* kStubborn =
    "trap '' TERM\n"
    "cat >/dev/null\n"
    "(sleep 600 & sleep 600) &\n"
    "echo '{\"progress\":0.5}'\n"
    "while :; do sleep 1; done\n";

class CancelTest : public SystemTest {
 protected:
  static void wait_for_progress(Client& caller, const TaskHandle& task) {
    for (StatusReport report; !report.progress;) {
      auto asked = caller.status(task, false, seconds{1});
      ASSERT_TRUE(asked) << asked.error().message;
      ASSERT_NE(asked->status, TaskStatus::completed) << asked->body;
      report = *asked;
    }
  }

  static void expect_canceled(Client& caller, const TaskHandle& task) {
    const auto result = caller.wait(task);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().error_type, "CANCELED") << result.error().detail;
  }
};

TEST_F(CancelTest, LeavesNoProcessOfARunnerThatIgnoresSigtermAndTouchesNoOtherTask) {
  serve(config(process_model("stubborn", kStubborn, "grace = \"200ms\"") +
               process_model("wait", kWaitForGo)));
  Client caller = client();
  const auto other = caller.submit("wait", "{}");
  const auto task = caller.submit("stubborn", "{}");
  ASSERT_TRUE(other && task);
  wait_for_progress(caller, *other);
  wait_for_progress(caller, *task);
  ASSERT_FALSE(runners_in(folder_.path() / "stubborn").empty());

  ASSERT_EQ(caller.cancel(*task), CancelReply::requested);
  expect_canceled(caller, *task);

  // It is COMPLETED only after the last of its processes is gone.
  EXPECT_TRUE(runners_in(folder_.path() / "stubborn").empty());
  EXPECT_EQ(caller.status(*other)->status, TaskStatus::in_progress);
  std::ofstream(folder_.path() / "wait" / "go") << "";
  EXPECT_TRUE(caller.wait(*other));
}

TEST_F(CancelTest, CancelsAThousandTasksAtOnce) {
  constexpr int kLanes = 8;
  constexpr int kEach = 125;
  serve(config(process_model("wait", kWaitForGo, "concurrency = 4\ngrace = \"1s\"")));
  Client bystander = client(kOtherSecret);
  const auto spared = bystander.submit("wait", "{}");
  ASSERT_TRUE(spared);
  wait_for_progress(bystander, *spared);
  std::vector<std::vector<TaskHandle>> tasks(kLanes);
  const auto in_lanes = [](auto body) {
    std::vector<std::jthread> lanes;
    for (std::size_t lane = 0; lane < kLanes; ++lane) lanes.emplace_back([=] { body(lane); });
  };
  in_lanes([&](std::size_t lane) {
    Client mine = client();
    for (int i = 0; i < kEach; ++i) {
      const auto task = mine.submit("wait", "{}");
      ASSERT_TRUE(task) << task.error().message;
      tasks[lane].push_back(*task);
    }
  });

  const auto begun = std::chrono::steady_clock::now();
  in_lanes([&](std::size_t lane) {
    Client mine = client();
    for (const TaskHandle& task : tasks[lane])
      EXPECT_EQ(mine.cancel(task), CancelReply::requested) << task.request_id;
  });
  const std::chrono::duration<double> accepted = std::chrono::steady_clock::now() - begun;
  Client caller = client();
  for (const auto& lane : tasks) {
    for (const TaskHandle& task : lane) expect_canceled(caller, task);
  }
  const std::chrono::duration<double> ended = std::chrono::steady_clock::now() - begun;

  std::printf("1,000 cancels accepted in %.3f s, all ended and seen after %.3f s\n",
              accepted.count(), ended.count());
  EXPECT_EQ(bystander.status(*spared)->status, TaskStatus::in_progress);
  std::ofstream(folder_.path() / "wait" / "go") << "";
  EXPECT_TRUE(bystander.wait(*spared));
}

}  // namespace
}  // namespace quern
