// What the machine may do to runners and to time: no memory, no processes, orphans, a clock that
// jumps.

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <future>
#include <sstream>
#include <thread>

#include "tests/system/faulty_server.h"
#include "tests/system/runner_census.h"
#include "tests/system/task_history.h"

namespace quern {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

class MachineFaultTest : public FaultyServerTest {
 protected:
  void let_go() const { std::ofstream(folder_.path() / "wait" / "go") << ""; }
};

// ---- memory

TEST_F(MachineFaultTest, RepeatsAnAttemptThatHasNoMemory) {
  constexpr const char* kGreedyAtFirst =
      "line=$(cat)\n"
      "case $line in *'\"attempt\":1,'*)\n"
      "  ulimit -v 100000\n"
      "  head -c 500000000 /dev/zero | tail -c 400000000 >/dev/null || exit 1;;\n"
      "esac\n"
      "echo '{\"output\":{\"type\":\"text\",\"text\":\"done\"}}'\n";
  serve(config(process_model("greedy", kGreedyAtFirst, "backoff_min = \"1ms\"") +
               process_model("wait", kWaitForGo)));
  Client caller = client();
  const auto other = caller.submit("wait", "{}");
  const auto task = caller.submit("greedy", "{}");
  ASSERT_TRUE(other && task);
  wait_until_running(caller, *other);

  const auto result = caller.wait(*task);

  ASSERT_TRUE(result) << result.error().message;
  const TaskSeen facts = look_up(caller, task->request_id);
  ASSERT_EQ(facts.attempts.size(), 2U);
  EXPECT_EQ(facts.attempts[0].result, "failed");
  EXPECT_EQ(facts.attempts[0].reason, "exit 1");
  EXPECT_NE(caller.status(*task, true)->body.find("memory exhausted"), std::string::npos);
  EXPECT_EQ(caller.status(*other)->status, TaskStatus::in_progress) << "others go on";
  let_go();
  EXPECT_TRUE(caller.wait(*other));
}

TEST_F(MachineFaultTest, RepeatsAnAttemptThatTheMachineKilledForItsMemory) {
  serve(config(process_model("wait", kWaitForGo, "backoff_min = \"1ms\"")));
  Client caller = client();
  const auto task = caller.submit("wait", "{}");
  ASSERT_TRUE(task);
  const std::filesystem::path folder = folder_.path() / "wait";

  // What the kernel does to the largest when memory is out.
  ASSERT_TRUE(eventually([&] {
    const std::vector<pid_t> alive = runners_in(folder);
    const auto leader = std::ranges::find_if(alive, [](pid_t pid) { return ::getsid(pid) == pid; });
    return leader != alive.end() && kill_runner(*leader, folder);
  }));
  let_go();

  const auto result = caller.wait(*task);
  ASSERT_TRUE(result) << result.error().message;
  const TaskSeen facts = look_up(caller, task->request_id);
  ASSERT_EQ(facts.attempts.size(), 2U);
  EXPECT_EQ(facts.attempts[0].reason, "signal 9 (Killed)");
}

// ---- processes

TEST_F(MachineFaultTest, KeepsTasksWhileNoProcessCanBeMade) {
  serve(config(process_model("hello",
                             "cat >/dev/null\n"
                             "echo '{\"output\":{\"type\":\"text\",\"text\":\"hello\"}}'\n",
                             "attempts = 1")));
  Client caller = client();
  for (const int error : {EAGAIN, ENOMEM}) {
    const std::uint64_t before = board().faults;
    board().start_error = error;
    const auto first = caller.submit("hello", "{}");
    const auto second = caller.submit("hello", "{}");
    ASSERT_TRUE(first && second);

    EXPECT_TRUE(eventually([&] { return board().faults >= before + 3; })) << "it tries again";
    EXPECT_TRUE(caller.wait(*caller.submit("echo", "{}"))) << "other models go on";
    EXPECT_NE(caller.status(*first)->status, TaskStatus::completed);

    board().start_error = 0;
    for (const auto& task : {first, second}) {
      const auto result = caller.wait(*task);
      ASSERT_TRUE(result) << result.error().message;
      EXPECT_EQ(look_up(caller, task->request_id).count("failed"), 0);
    }
  }
  EXPECT_EQ(server_->terminate(), 0);
}

TEST_F(MachineFaultTest, GoesOnAndStopsInOrderWhileNoThreadCanBeMade) {
  serve(config(process_model("hello",
                             "cat >/dev/null\n"
                             "echo '{\"output\":{\"type\":\"text\",\"text\":\"hello\"}}'\n")));
  Client caller = client();
  board().thread_error = EAGAIN;

  for (const char* model : {"echo", "hello"}) {
    const auto task = caller.submit(model, "{}");
    ASSERT_TRUE(task) << task.error().message;
    EXPECT_TRUE(caller.wait(*task));
  }

  EXPECT_EQ(server_->terminate(), 0);
  EXPECT_GE(board().faults, 1U) << server_->log();
}

TEST_F(MachineFaultTest, GoesOnOnceThereAreDescriptorsAgain) {
  serve(config(process_model("wait", kWaitForGo, "attempts = 1")));
  let_go();
  Client kept = client();
  const auto echo = kept.submit("echo", "{}");
  ASSERT_TRUE(echo && kept.wait(*echo));

  board().descriptor_error = EMFILE;
  const auto task = kept.submit("wait", "{}");
  ASSERT_TRUE(task) << task.error().message;
  EXPECT_TRUE(kept.result(*echo)) << "connections that are there go on";
  EXPECT_NE(kept.status(*task)->status, TaskStatus::completed);
  // Whoever comes now waits in the machine's backlog.
  auto late = std::async(std::launch::async, [&] { return client().call("GET", "/healthz"); });
  const std::uint64_t before = board().faults;
  EXPECT_TRUE(eventually([&] { return board().faults > before + 2; })) << "it tries again";

  board().descriptor_error = 0;
  EXPECT_TRUE(late.get());
  const auto result = kept.wait(*task);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(look_up(kept, task->request_id).count("failed"), 0);
}

TEST_F(MachineFaultTest, HandsATaskBackWhileThereIsNoDescriptorForItsInputFile) {
  serve(config(process_model(
      "hello", "cat >/dev/null\necho '{\"output\":{\"type\":\"text\",\"text\":\"hello\"}}'\n",
      "attempts = 1")));
  Client kept = client();
  ASSERT_TRUE(kept.models());

  board().descriptor_error = EMFILE;
  const auto task = kept.submit("hello", R"({"image":"data:,x"})");
  ASSERT_TRUE(task) << task.error().message;
  EXPECT_TRUE(eventually([&] {
    return server_->log().find("\"reason\":\"input: image: ") != std::string::npos;
  })) << server_->log();
  board().descriptor_error = 0;

  const auto result = kept.wait(*task);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->outputs.at(0).text, "hello");
}

TEST_F(MachineFaultTest, SaysThatAFileIsUnavailableWhileThereAreNoDescriptors) {
  serve(config());
  std::ofstream(folder_.path() / "a.txt") << "hello";
  Client kept = client();
  const auto url = kept.upload(folder_.path() / "a.txt");
  ASSERT_TRUE(url) << url.error().message;
  const std::string path = url->substr(url->find("/files/"));

  board().descriptor_error = EMFILE;
  const auto refused = kept.call("GET", path);
  board().descriptor_error = 0;

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().http_status, 503) << refused.error().message;
  EXPECT_GE(refused.error().retry_after, seconds{1});
  EXPECT_EQ(kept.call("GET", path), "hello");
}

// Children of `parent` that have ended and are not reaped.
std::size_t zombies_of(pid_t parent) {
  std::size_t count = 0;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", gone)) {
    std::ifstream file(entry.path() / "stat");
    std::string stat;
    if (!std::getline(file, stat)) continue;
    std::istringstream rest(stat.substr(stat.rfind(')') + 1));  // the name before may hold anything
    char state = 0;
    pid_t of = 0;
    if (rest >> state >> of && of == parent && state == 'Z') ++count;
  }
  return count;
}

TEST_F(MachineFaultTest, ReapsWhatARunnerLeavesBehindWhileItRuns) {
  const std::string script = std::string("(sh -c 'echo $$ >orphan' &)\n") + kWaitForGo;
  serve(config(process_model("wait", script)));
  Client caller = client();
  const auto task = caller.submit("wait", "{}");
  ASSERT_TRUE(task);
  pid_t orphan = 0;
  ASSERT_TRUE(eventually([&] {
    return static_cast<bool>(std::ifstream(folder_.path() / "wait" / "orphan") >> orphan);
  }));

  EXPECT_TRUE(eventually([&] { return ::kill(orphan, 0) != 0; })) << "it stays a zombie";
  EXPECT_EQ(caller.status(*task)->status, TaskStatus::in_progress);
  let_go();
  EXPECT_TRUE(caller.wait(*task));
}

TEST_F(MachineFaultTest, LeavesNeitherZombiesNorDaemonsOfARunner) {
  const std::string script =
      "(sleep 0 & exec sleep 600) &\n"                // has a zombie that it does not look after
      "setsid sh -c 'sleep 600 & sleep 600 & :' &\n"  // daemons: another session, their parent gone
      "(sleep 0.05 &)\n" +                            // an orphan that ends
      std::string(kWaitForGo);
  serve(config(process_model("wait", script)));
  const std::filesystem::path folder = folder_.path() / "wait";
  Client caller = client();
  for (const bool cancels : {true, false}) {
    const auto task = caller.submit("wait", "{}");
    ASSERT_TRUE(task);
    wait_until_running(caller, *task);
    EXPECT_TRUE(eventually([&] { return runners_in(folder).size() >= 4; }));

    if (cancels) {
      EXPECT_EQ(caller.cancel(*task), CancelReply::requested);
      EXPECT_FALSE(caller.wait(*task));
    } else {
      let_go();
      EXPECT_TRUE(caller.wait(*task));
    }

    EXPECT_EQ(runners_in(folder).size(), 0U);
    EXPECT_TRUE(eventually([&] { return zombies_of(server_->pid()) == 0; }));
  }
}

// ---- files

/// A video of a hundred bytes whose description keeps libmediainfo busy for ever: an array of 2^32 - 1 entries.
std::string endless_video() {
  constexpr std::string_view kDigits =
      "464c5601010000000900000000120000b80000000000000002000a6f6e4d6574614461746108ffffffffffffffff"
      "726174696f6e003fe33333333333330005776964746800405000000000000000066865696768740040480000"
      "00000000000d76696465";
  std::string bytes;
  for (std::size_t at = 0; at < kDigits.size(); at += 2) {
    bytes += static_cast<char>(std::stoi(std::string(kDigits.substr(at, 2)), nullptr, 16));
  }
  return bytes;
}

TEST_F(MachineFaultTest, EndsTheMeasuringOfAFileThatTakesForEver) {
  const std::string model =
      process_model("video",
                    "cp video.flv \"$(sed 's/.*\"output_dir\":\"\\([^\"]*\\)\".*/\\1/')\"\n"
                    "echo '{\"output\":{\"type\":\"video\",\"path\":\"video.flv\"}}'\n");
  std::ofstream(folder_.path() / "video" / "video.flv", std::ios::binary) << endless_video();
  serve(config(model));
  Client caller = client();
  const auto task = caller.submit("video", "{}");
  ASSERT_TRUE(task);

  const auto result = caller.wait(*task);

  ASSERT_TRUE(result) << result.error().message;
  ASSERT_EQ(result->outputs.size(), 1U);
  EXPECT_EQ(result->outputs[0].content_type, "video/x-flv");
  EXPECT_EQ(result->outputs[0].file_size, 100U);
  EXPECT_EQ(result->outputs[0].width, 0U);
  EXPECT_NE(server_->log().find("a file could not be measured"), std::string::npos);

  const auto stopped = caller.submit("video", "{}");
  ASSERT_TRUE(stopped);
  wait_until_running(caller, *stopped);
  ASSERT_TRUE(caller.cancel(*stopped));
  const auto canceled = caller.wait(*stopped);
  ASSERT_FALSE(canceled);
  EXPECT_EQ(canceled.error().error_type, "CANCELED");
}

TEST_F(MachineFaultTest, KeepsItsAttemptsWhileItStandsStillForLongerThanALease) {
  std::string text = config(process_model("wait", kWaitForGo, "attempts = 1\nconcurrency = 8"));
  text.insert(text.find("url ="), "lease_ttl = \"1s\"\n");
  serve(text);
  Client caller = client();
  std::vector<TaskHandle> tasks;
  for (int i = 0; i < 8; ++i) {
    const auto task = caller.submit("wait", "{}");
    ASSERT_TRUE(task);
    tasks.push_back(*task);
  }
  for (const TaskHandle& task : tasks) wait_until_running(caller, task);

  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(::kill(server_->pid(), SIGSTOP), 0);
    std::this_thread::sleep_for(seconds{2});  // as whoever pauses a machine
    ASSERT_EQ(::kill(server_->pid(), SIGCONT), 0);
    EXPECT_TRUE(caller.status(tasks[0]));
  }
  let_go();

  for (const TaskHandle& task : tasks) {
    const auto result = caller.wait(task);
    EXPECT_TRUE(result) << result.error().message;
  }
}

TEST_F(MachineFaultTest, SitsOutAClockThatJumpsByHours) {
  const std::string text =
      config(process_model("wait", kWaitForGo, "attempts = 1") +
             process_model("flaky",
                           "case $(cat) in *'\"attempt\":1,'*) exit 1;; esac\n"
                           "echo '{\"output\":{\"type\":\"text\",\"text\":\"done\"}}'\n") +
             "[retention]\nresults = \"1h\"\n");
  serve(text);
  Client caller = client();
  const SubmitOptions once{.idempotency_key = "once"};
  const auto done = caller.submit("echo", "{}", once);
  const auto running = caller.submit("wait", "{}");
  const auto queued = caller.submit("wait", "{}");
  ASSERT_TRUE(done && running && queued);
  ASSERT_TRUE(caller.wait(*done));
  wait_until_running(caller, *running);
  std::string last = queued->request_id;

  for (const hours ahead : {hours{30}, hours{-30}, hours{0}}) {
    board().clock_ahead_seconds = seconds(ahead).count();

    EXPECT_TRUE(caller.result(*done)) << "results are kept, " << ahead.count() << " h";
    EXPECT_EQ(caller.status(*running)->status, TaskStatus::in_progress);
    EXPECT_EQ(caller.status(*queued)->status, TaskStatus::in_queue);
    EXPECT_EQ(caller.submit("echo", "{}", once)->request_id, done->request_id);
    // New ones run, fail, wait and run again.
    const auto flaky = caller.submit("flaky", "{}");
    ASSERT_TRUE(flaky);
    EXPECT_GT(flaky->request_id, last) << "ids ascend";
    last = flaky->request_id;
    const auto result = caller.wait(*flaky);
    EXPECT_TRUE(result) << result.error().message;
    EXPECT_EQ(look_up(caller, last).attempts.size(), 2U);
  }

  let_go();
  for (const auto& task : {running, queued}) {
    EXPECT_TRUE(caller.wait(*task));
    EXPECT_EQ(look_up(caller, task->request_id).attempts.size(), 1U);
  }
  server_->kill();
  board().clock_ahead_seconds = seconds(hours{-30}).count();
  serve(text);
  Client after = client();
  EXPECT_TRUE(after.result(*running));
  const auto next = after.submit("echo", "{}");
  ASSERT_TRUE(next);
  EXPECT_GT(next->request_id, last) << "ids ascend after a restart, too";
  EXPECT_TRUE(after.wait(*next));
}

}  // namespace
}  // namespace quern
