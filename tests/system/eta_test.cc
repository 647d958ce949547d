// Whether what a waiting task is told of its start comes true.

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "testing/eventually.h"
#include "tests/system/system_fixture.h"

namespace quern {
namespace {

double unix_seconds() {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  return now.count();
}

class EtaTest : public SystemTest {
 protected:
  // Each task writes down who it is and when it started, and takes its time.
  std::string steady_model() {
    return process_model(
        "steady",
        "line=$(cat)\n"
        "who=$(printf '%s' \"$line\" | sed 's/.*\"who\":\"\\([^\"]*\\)\".*/\\1/')\n"
        "echo \"$who $(date +%s.%N)\" >>starts\n"
        "sleep 0.3\n",
        "concurrency = 2");
  }

  /// By who started: when, in seconds since 1970.
  std::map<std::string, double> starts() const {
    std::ifstream file(folder_.path() / "steady" / "starts");
    std::map<std::string, double> all;
    std::string who;
    for (double when = 0; file >> who >> when;) all[who] = when;
    return all;
  }
};

// By the median: a machine that stands still for a moment makes single tasks late, but not the most.
TEST_F(EtaTest, ComesTrueWithinAFactorOfTwoInASteadyState) {
  constexpr std::size_t kTasks = 40;
  serve(config(steady_model()));
  Client callers[] = {client(), client(kOtherSecret)};
  std::map<std::string, TaskHandle> tasks;
  for (std::size_t i = 0; i < kTasks; ++i) {
    const std::string who = "t" + std::to_string(i);
    const auto task = callers[i % 2].submit("steady", R"({"who":")" + who + R"("})");
    ASSERT_TRUE(task) << task.error().message;
    tasks[who] = *task;
  }
  ASSERT_TRUE(eventually([&] { return starts().size() > 8; })) << "nothing runs";

  std::map<std::string, std::pair<double, double>> told;  // when, and the eta
  for (std::size_t i = 0; i < kTasks; ++i) {
    const std::string who = "t" + std::to_string(i);
    const auto report = callers[i % 2].status(tasks[who]);
    ASSERT_TRUE(report) << report.error().message;
    if (report->eta) told[who] = {unix_seconds(), *report->eta};
  }
  ASSERT_GT(told.size(), kTasks / 2);
  ASSERT_TRUE(eventually([&] { return starts().size() == kTasks; })) << "not every task has run";

  std::vector<double> ratios;
  for (const auto& [who, when_and_eta] : told) {
    const auto [when, eta] = when_and_eta;
    const double waited = starts()[who] - when;
    if (waited > 0.6) ratios.push_back(eta / waited);  // within two runs, chance decides
  }
  ASSERT_GT(ratios.size(), 10U);
  std::ranges::sort(ratios);
  const double median = ratios[ratios.size() / 2];
  EXPECT_GT(median, 0.5);
  EXPECT_LT(median, 2);
}

}  // namespace
}  // namespace quern
