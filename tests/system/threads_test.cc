// What an operator sees of a server's threads.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "tests/system/system_fixture.h"

namespace quern {
namespace {

std::set<std::string> thread_names(pid_t pid) {
  std::set<std::string> names;
  std::error_code gone;  // a thread may end meanwhile
  for (const auto& thread :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task", gone)) {
    std::string name;
    if (std::getline(std::ifstream(thread.path() / "comm"), name)) names.insert(name);
  }
  return names;
}

TEST_F(SystemTest, NamesEachOfItsThreadsForWhatItDoes) {
  serve(config(process_model("wait", kWaitForGo)));
  Client caller = client();
  const auto task = caller.submit("wait", "{}");
  ASSERT_TRUE(task) << task.error().message;
  wait_until_running(caller, *task);

  const std::set<std::string> expected{
      "quern",       "quern-io",      "quern-commit", "quern-tables", "quern-reader",
      "quern-files", "quern-api",     "quern-timers", "quern-run",    "quern-instant",
      "quern-beat",  "quern-janitor", "quern-awake",  "quern-signals"};
  EXPECT_TRUE(eventually([&] { return thread_names(server_->pid()) == expected; }));
  EXPECT_EQ(thread_names(server_->pid()), expected);
}

}  // namespace
}  // namespace quern
