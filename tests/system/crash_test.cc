// Many crashes in a row, of the server and of runners, while process trees run.

#include <poll.h>
#include <sys/stat.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "testing/eventually.h"
#include "testing/seeded_random.h"
#include "tests/system/runner_census.h"
#include "tests/system/store_files.h"
#include "tests/system/system_fixture.h"
#include "tests/system/task_history.h"

namespace quern {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

int number_from(const char* variable, int otherwise) {
  const char* value = std::getenv(variable);
  return value != nullptr ? std::atoi(value) : otherwise;
}

// Says in the pipe `runs` that it runs, leaves a child and a grandchild, and answers with its `n`; fails
// when a program that it needs is killed.
constexpr const char* kTree =
    "set -e\n"
    "line=$(cat)\n"
    "(sleep 600 & sleep 600) &\n"
    "echo run >>runs\n"
    "sleep 0.1\n"
    "answer=$(printf '%s\\n' \"$line\" | sed 's/.*\"n\":\"\\([^\"]*\\)\".*/"
    "{\"output\":{\"type\":\"text\",\"text\":\"\\1\"}}/')\n"
    "[ -n \"$answer\" ]\n"  // a killed printf leaves sed with nothing to say, and content
    "printf '%s\\n' \"$answer\"\n";

// A named pipe that runners write to and the test reads.
class RunsPipe {
 public:
  explicit RunsPipe(const std::filesystem::path& file) {
    EXPECT_EQ(::mkfifo(file.c_str(), 0600), 0);
    // Open for writing too: it never ends, and runners never wait for a reader.
    fd_ = ::open(file.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  }
  ~RunsPipe() { ::close(fd_); }
  RunsPipe(const RunsPipe&) = delete;
  RunsPipe& operator=(const RunsPipe&) = delete;

  /// Forgets what was said so far.
  void drain() const {
    char buffer[4096];
    while (::read(fd_, buffer, sizeof(buffer)) > 0) {
    }
  }
  /// Waits for a runner to say something.
  [[nodiscard]] bool wait(seconds patience) const {
    pollfd ready{fd_, POLLIN, 0};
    return ::poll(&ready, 1, static_cast<int>(milliseconds(patience).count())) > 0;
  }

 private:
  int fd_ = -1;
};

// What was acknowledged, and with what input.
struct Acknowledged {
  TaskHandle task;
  std::string n;
};

class CrashTest : public SystemTest {
 protected:
  // Submits by turns to the model and to echo until the server is gone or `stop` is asked for.
  void submit_until_gone(int lane, const std::string& model, std::stop_token stop) {
    Client mine = client();
    while (!stop.stop_requested()) {
      const std::string n = std::to_string(lane) + "-" + std::to_string(next_++);
      const std::string& to = next_ % 4 == 0 ? model : "echo";
      const auto task = mine.submit(to, R"({"n":")" + n + R"("})");
      if (!task) return;
      const std::scoped_lock lock(mutex_);
      acknowledged_.push_back({*task, n});
      more_.notify_all();
    }
  }

  void wait_for_more_acknowledged(std::size_t more) {
    std::unique_lock lock(mutex_);
    const std::size_t count = acknowledged_.size() + more;
    EXPECT_TRUE(more_.wait_for(lock, seconds{60}, [&] { return acknowledged_.size() >= count; }));
  }

  // Every one ended in success, by one attempt only, with its own answer.
  void expect_each_ended_once() {
    Client after = client();
    std::size_t crashed = 0;
    for (const auto& [task, n] : acknowledged_) {
      const auto result = after.wait(task);
      ASSERT_TRUE(result) << task.request_id << ": " << result.error().message;
      ASSERT_EQ(result->outputs.size(), 1U) << task.request_id;
      const std::string expected = task.model == "echo" ? R"({"n":")" + n + R"("})" : n;
      EXPECT_EQ(result->outputs[0].text, expected) << task.request_id;
      const TaskSeen facts = look_up(after, task.request_id);
      EXPECT_EQ(facts.count("succeeded"), 1) << task.request_id;
      EXPECT_EQ(facts.attempts.back().result, "succeeded") << task.request_id;
      crashed += facts.attempts.size() - 1;
    }
    RecordProperty("acknowledged", static_cast<int>(acknowledged_.size()));
    RecordProperty("attempts_lost", static_cast<int>(crashed));
    std::printf("%zu tasks acknowledged, %zu attempts lost with a server\n", acknowledged_.size(),
                crashed);
  }

  std::mutex mutex_;  // guards acknowledged_
  std::condition_variable more_;
  std::vector<Acknowledged> acknowledged_;
  std::atomic<std::uint64_t> next_{0};
};

TEST_F(CrashTest, EndsEveryAcknowledgedTaskOnceThroughFiftyCrashesOfTheServer) {
  const int crashes = number_from("QUERN_TEST_CRASHES", 50);
  const std::string text = config(process_model(
      "tree", kTree,
      "concurrency = 4\nattempts = 100\nbackoff_min = \"1ms\"\nbackoff_max = \"5ms\""));
  const std::filesystem::path folder = folder_.path() / "tree";
  const RunsPipe runs(folder / "runs");

  for (int crash = 0; crash < crashes; ++crash) {
    serve(text);
    runs.drain();
    std::vector<std::jthread> submitters;
    for (int lane = 0; lane < 4; ++lane) {
      submitters.emplace_back(
          [&, lane](std::stop_token stop) { submit_until_gone(lane, "tree", stop); });
    }
    wait_for_more_acknowledged(12);
    EXPECT_TRUE(runs.wait(seconds{60})) << "no process tree runs";
    server_->kill();
  }
  serve(text);

  expect_each_ended_once();
  EXPECT_TRUE(eventually([&] { return runners_in(folder).empty(); }))
      << runners_in(folder).size() << " processes of runners survive";
}

TEST_F(CrashTest, EndsEveryAcknowledgedTaskOnceThoughTheTablesWereBehindAtEachCrash) {
  const int crashes = number_from("QUERN_TEST_BURSTS", 20);
  int behind = 0;

  for (int crash = 0; crash < crashes; ++crash) {
    serve(config());
    std::vector<std::jthread> submitters;
    for (int lane = 0; lane < 4; ++lane) {
      submitters.emplace_back(
          [&, lane](std::stop_token stop) { submit_until_gone(lane, "echo", stop); });
    }
    // From the first moments on, when the tables have nothing of the burst.
    wait_for_more_acknowledged(static_cast<std::size_t>(1 + 3 * crash));
    server_->kill();
    if (records_pending({folder_.path() / "data"}) > 0) ++behind;
  }
  serve(config());

  expect_each_ended_once();
  std::printf("the tables were behind at %d of %d crashes\n", behind, crashes);
  EXPECT_GT(behind, crashes / 2);
}

TEST_F(CrashTest, EndsEveryTaskWhileRunnersAreKilledAtRandom) {
  const auto duration = seconds{number_from("QUERN_TEST_RUNNER_KILL_SECONDS", 10)};
  const auto seed = static_cast<std::uint64_t>(number_from("QUERN_TEST_SEED", 7));
  std::printf("QUERN_TEST_SEED=%lu\n", seed);
  serve(config(process_model("tree", kTree,
                             "concurrency = 4\nbackoff_min = \"1ms\"\nbackoff_max = \"20ms\"")));
  const std::filesystem::path folder = folder_.path() / "tree";
  const RunsPipe runs(folder / "runs");
  SeededRandom random(seed);

  int killed = 0;
  {
    std::vector<std::jthread> submitters;
    for (int lane = 0; lane < 2; ++lane) {
      submitters.emplace_back([&, lane](std::stop_token stop) {
        // Each waits for its task, so that there is always one to kill and never a long line.
        Client mine = client();
        while (!stop.stop_requested()) {
          const std::string n = std::to_string(lane) + "-" + std::to_string(next_++);
          const auto task = mine.submit("tree", R"({"n":")" + n + R"("})");
          ASSERT_TRUE(task) << task.error().message;
          (void)mine.wait(*task);
          const std::scoped_lock lock(mutex_);
          acknowledged_.push_back({*task, n});
        }
      });
    }
    const auto end = std::chrono::steady_clock::now() + duration;
    while (std::chrono::steady_clock::now() < end) {
      runs.drain();
      if (!runs.wait(seconds{1})) continue;
      const std::vector<pid_t> alive = runners_in(folder);
      if (alive.empty()) continue;
      if (kill_runner(alive[random.next_u64() % alive.size()], folder)) ++killed;
    }
  }

  Client after = client();
  int failed = 0;
  for (const auto& [task, n] : acknowledged_) {
    const TaskSeen facts = look_up(after, task.request_id);
    ASSERT_FALSE(facts.attempts.empty()) << task.request_id;
    if (facts.state == "succeeded") {
      EXPECT_EQ(facts.count("succeeded"), 1) << task.request_id;
      EXPECT_EQ(facts.outputs, 1U) << task.request_id;
      continue;
    }
    ++failed;
    EXPECT_EQ(facts.state, "failed") << task.request_id;
    EXPECT_EQ(facts.error_type, "INFERENCE_FAILURE") << task.request_id;
    EXPECT_EQ(facts.count("failed"), 3) << task.request_id;
  }
  std::printf("%d processes killed, %zu tasks ended, %d of them failed\n", killed,
              acknowledged_.size(), failed);
  EXPECT_GT(killed, 0);
  EXPECT_TRUE(eventually([&] { return runners_in(folder).empty(); }));
}

TEST_F(CrashTest, FailsATaskThatKillsItsRunnerThreeTimesAndDoesNotRunItAgain) {
  const std::string text = config(process_model("suicide", "cat >/dev/null\nkill -9 $$\n",
                                                "backoff_min = \"1ms\"\nbackoff_max = \"1ms\""));
  serve(text);
  Client caller = client();
  const auto task = caller.submit("suicide", "{}");
  ASSERT_TRUE(task);

  const auto result = caller.wait(*task);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().error_type, "INFERENCE_FAILURE");
  EXPECT_EQ(server_->terminate(), 0);
  serve(text);

  Client after = client();
  const TaskSeen facts = look_up(after, task->request_id);
  EXPECT_EQ(facts.state, "failed");
  ASSERT_EQ(facts.attempts.size(), 3U);
  for (const AttemptSeen& attempt : facts.attempts) {
    EXPECT_EQ(attempt.result, "failed");
    EXPECT_NE(attempt.reason.find("signal 9"), std::string::npos) << attempt.reason;
    EXPECT_TRUE(attempt.has_ended);
  }
}

}  // namespace
}  // namespace quern
