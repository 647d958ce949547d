#include "runner/dispatcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"
#include "runner/echo_executor.h"
#include "runner/process_executor.h"
#include "testing/eventually.h"
#include "testing/fake_executor.h"
#include "testing/fake_queue.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

class DispatcherTest : public ::testing::Test {
 protected:
  DispatcherTest() : store_(std::move(*ArtifactStore::open(folder_.path(), random_))) {}

  static Model make_model(std::string id, std::string kind = "fake") {
    Model model;
    model.id = std::move(id);
    model.executor.kind = std::move(kind);
    model.timeout = minutes(10);
    return model;
  }

  // `script` is what the executor of kind "fake" does; models of kind "echo" are served too.
  void start(std::vector<Model> models, FakeExecutor::Script script,
             FakeQueue::Answers answers = FakeQueue::Answers::later) {
    queue_ = std::make_unique<FakeQueue>(answers);
    executor_ = std::make_shared<FakeExecutor>(std::move(script));
    options_.executors = {{"fake", executor_}, {"echo", std::make_shared<EchoExecutor>()}};
    dispatcher_ = std::make_unique<Dispatcher>(*queue_, *store_, clock_, metrics_, options_);
    queue_->observe(dispatcher_.get());
    configure(std::move(models));
  }
  void configure(std::vector<Model> models) {
    ASSERT_TRUE(dispatcher_->configure(*Catalog::make(std::move(models))));
  }
  ~DispatcherTest() override {
    dispatcher_.reset();  // the queue answers to the last
  }

  static Executor::Ending succeed(const quern::Run&, ProgressSink&, const std::stop_token&) {
    return FakeExecutor::success();
  }
  static Executor::Ending wait_for_stop(const quern::Run&, ProgressSink&,
                                        const std::stop_token& stop) {
    return FakeExecutor::until_stopped(stop);
  }
  bool wait_until_running(const TaskId& task) {
    return queue_->wait_for(task, [](const auto& record) { return record.lease.has_value(); }) &&
           eventually([this] { return executor_->begun() > 0; });
  }
  std::uint64_t attempts(const std::string& model, const std::string& outcome) {
    return metrics_
        .counter("quern_attempts_total", "Attempts that ended, by outcome",
                 {{"model", model}, {"outcome", outcome}})
        .value();
  }

  TempFolder folder_;
  SystemRandom random_;
  SystemClock clock_;
  Metrics metrics_;
  std::unique_ptr<ArtifactStore> store_;
  std::unique_ptr<FakeQueue> queue_;
  std::shared_ptr<FakeExecutor> executor_;
  Dispatcher::Options options_;
  std::unique_ptr<Dispatcher> dispatcher_;
};

// ---- claiming
// --------------------------------------------------------------------------------------

TEST_F(DispatcherTest, RunsATaskAndFinishesIt) {
  start({make_model("m")}, [](const quern::Run& run, ProgressSink&, const std::stop_token&) {
    EXPECT_EQ(run.input_json, R"({"a":1})");
    EXPECT_EQ(run.claim.attempt, 1U);
    return FakeExecutor::success();
  });

  const TaskId task = queue_->add("m", R"({ "a" : 1 })");

  const auto outcome = queue_->wait_for_end(task);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->end, AttemptEnd::succeeded);
  EXPECT_EQ(outcome->metadata_json, "");
}

TEST_F(DispatcherTest, RunsWhatWaitedBeforeItStarted) {
  queue_ = std::make_unique<FakeQueue>();
  const TaskId task = queue_->add("m");
  executor_ = std::make_shared<FakeExecutor>(succeed);
  options_.executors = {{"fake", executor_}};
  dispatcher_ = std::make_unique<Dispatcher>(*queue_, *store_, clock_, metrics_, options_);
  queue_->observe(dispatcher_.get());

  configure({make_model("m")});

  EXPECT_TRUE(queue_->wait_for_end(task));
}

TEST_F(DispatcherTest, UsesEverySlotAndNoMore) {
  Gate gate;
  Model model = make_model("m");
  model.concurrency = 3;
  start({model}, [&](const quern::Run&, ProgressSink&, const std::stop_token&) {
    gate.wait();
    return FakeExecutor::success();
  });

  std::vector<TaskId> tasks;
  for (int i = 0; i < 20; ++i) tasks.push_back(queue_->add("m"));
  EXPECT_TRUE(eventually([&] { return executor_->begun() == 3; }));
  gate.open();

  for (const TaskId& task : tasks) EXPECT_TRUE(queue_->wait_for_end(task));
  EXPECT_EQ(executor_->begun(), 20);
  EXPECT_EQ(executor_->most_at_once(), 3);
}

TEST_F(DispatcherTest, AsksNothingWhileIdle) {
  start({make_model("m")}, succeed);
  EXPECT_TRUE(queue_->wait_for_end(queue_->add("m")));
  dispatcher_->drain(seconds(30));
  const int claims = queue_->claims();

  // One at the start, one for the task, and at most one more for what may have come since.
  EXPECT_LE(claims, 3);
}

TEST_F(DispatcherTest, DoesNotLetAFullModelHoldUpAnother) {
  start({make_model("slow"), make_model("fast")}, [](const quern::Run& run, ProgressSink&,
                                                     const std::stop_token& stop) {
    return run.model.id == "slow" ? FakeExecutor::until_stopped(stop) : FakeExecutor::success();
  });
  queue_->add("slow");
  queue_->add("slow");

  EXPECT_TRUE(queue_->wait_for_end(queue_->add("fast")));
}

TEST_F(DispatcherTest, ClaimsTheNextTaskWhileTheLastOneIsStillBeingStored) {
  Gate gate;
  start({make_model("m")}, [&](const quern::Run& run, ProgressSink& sink, const std::stop_token&) {
    if (run.input_json == R"({"first":1})") {
      sink.work_ended();
      gate.wait();
    }
    return FakeExecutor::success();
  });
  const TaskId first = queue_->add("m", R"({"first":1})");

  const TaskId second = queue_->add("m");

  EXPECT_TRUE(queue_->wait_for_end(second));
  EXPECT_TRUE(queue_->record(first).outcomes.empty());
  gate.open();
  EXPECT_TRUE(queue_->wait_for_end(first));
}

TEST_F(DispatcherTest, RepeatsAClaimThatFailed) {
  start({make_model("m")}, succeed);
  queue_->fail_claims(3);

  EXPECT_TRUE(queue_->wait_for_end(queue_->add("m")));
}

TEST_F(DispatcherTest, HandsBackWhatTheMachineHasNoProcessForAndTriesAgain) {
  std::atomic<int> runs{0};
  start({make_model("m")}, [&](const quern::Run&, ProgressSink&, const std::stop_token&) {
    if (++runs > 2) return FakeExecutor::success();
    return Executor::Ending{.outcome = {.reason = "could not make a process"}, .not_started = true};
  });

  const TaskId task = queue_->add("m");

  ASSERT_TRUE(
      queue_->wait_for(task, [](const auto& record) { return record.outcomes.size() == 3; }));
  const auto outcomes = queue_->record(task).outcomes;
  EXPECT_EQ(outcomes[0].end, AttemptEnd::released);
  EXPECT_EQ(outcomes[0].reason, "could not make a process");
  EXPECT_EQ(outcomes[1].end, AttemptEnd::released);
  EXPECT_EQ(outcomes[2].end, AttemptEnd::succeeded);
}

/// Fills its folder, and then cannot start.
class UnstartedExecutor final : public Executor {
 public:
  Ending run(const quern::Run& run, ProgressSink& /*sink*/, std::stop_token /*stop*/) override {
    for (int i = 0; i < 2'000; ++i) std::ofstream(run.folders.output / std::to_string(i)) << i;
    return {.outcome = {.reason = "no process"}, .not_started = true};
  }
  [[nodiscard]] bool uses_files() const override { return true; }
};

TEST_F(DispatcherTest, HandsBackAnAttemptOnceItsFoldersAreGoneSinceTheNextOneHasTheSame) {
  options_.executors = {{"unstarted", std::make_shared<UnstartedExecutor>()}};
  queue_ = std::make_unique<FakeQueue>();
  dispatcher_ = std::make_unique<Dispatcher>(*queue_, *store_, clock_, metrics_, options_);
  queue_->observe(dispatcher_.get());
  configure({make_model("m", "unstarted")});

  const TaskId task = queue_->add("m");

  ASSERT_TRUE(queue_->wait_for(task, [](const auto& r) { return r.outcomes.size() == 1; }));
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "work" / (task.to_string() + "-1")));
}

TEST_F(DispatcherTest, RefusesAModelThatNothingCanRun) {
  start({make_model("m")}, succeed);

  const auto result = dispatcher_->configure(*Catalog::make({make_model("n", "telepathy")}));

  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message, "model n: there is no executor \"telepathy\"");
  EXPECT_TRUE(queue_->wait_for_end(queue_->add("m")));
}

TEST_F(DispatcherTest, FollowsAReload) {
  Gate gate;
  Model model = make_model("m");
  start({model}, [&](const quern::Run&, ProgressSink&, const std::stop_token&) {
    gate.wait();
    return FakeExecutor::success();
  });
  for (int i = 0; i < 4; ++i) queue_->add("m");
  EXPECT_TRUE(eventually([&] { return executor_->begun() == 1; }));

  model.concurrency = 3;
  configure({model});
  EXPECT_TRUE(eventually([&] { return executor_->begun() == 3; }));
  configure({make_model("other")});
  gate.open();
  EXPECT_TRUE(queue_->wait_for_end(queue_->add("other")));
  dispatcher_->drain(seconds(30));

  EXPECT_EQ(executor_->begun(), 4);  // three of m, one of other; the fourth of m waits for ever
}

// ---- the instant ones
// --------------------------------------------------------------------------------

TEST_F(DispatcherTest, EchoesInBatches) {
  for (const auto answers : {FakeQueue::Answers::later, FakeQueue::Answers::at_once}) {
    dispatcher_.reset();
    start({make_model("e", "echo")}, succeed, answers);
    std::vector<TaskId> tasks;
    for (int i = 0; i < 5'000; ++i) {
      tasks.push_back(queue_->add("e", R"({ "prompt": "hi", "n": [1, 2.5, null] })"));
    }

    for (const TaskId& task : tasks) {
      const auto outcome = queue_->wait_for_end(task);
      ASSERT_TRUE(outcome);
      ASSERT_EQ(outcome->end, AttemptEnd::succeeded);
      ASSERT_EQ(outcome->outputs.size(), 1U);
      EXPECT_EQ(outcome->outputs[0].type, OutputType::text);
      EXPECT_EQ(outcome->outputs[0].text, R"({"prompt":"hi","n":[1,2.5E0,null]})");
      EXPECT_EQ(outcome->metadata_json, R"({"prompt":"hi"})");
    }
  }
}

/// Notes which threads it is called on.
class InstantExecutor final : public Executor {
 public:
  Ending run(const quern::Run& /*run*/, ProgressSink& /*sink*/, std::stop_token /*stop*/) override {
    const std::scoped_lock lock(mutex_);
    threads_.insert(std::this_thread::get_id());
    return FakeExecutor::success();
  }
  [[nodiscard]] bool uses_files() const override { return false; }
  [[nodiscard]] bool is_instant() const override { return true; }
  std::set<std::thread::id> threads() {
    const std::scoped_lock lock(mutex_);
    return threads_;
  }

 private:
  std::mutex mutex_;  // guards threads_
  std::set<std::thread::id> threads_;
};

TEST_F(DispatcherTest, RunsInstantTasksOfManyModelsOnTwoThreadsAndNeverOnTheQueues) {
  const auto instant = std::make_shared<InstantExecutor>();
  options_.executors = {{"instant", instant}};
  queue_ = std::make_unique<FakeQueue>(FakeQueue::Answers::at_once);
  dispatcher_ = std::make_unique<Dispatcher>(*queue_, *store_, clock_, metrics_, options_);
  queue_->observe(dispatcher_.get());
  std::vector<Model> models;
  std::vector<TaskId> tasks;
  for (int i = 0; i < 200; ++i) {
    models.push_back(make_model("m" + std::to_string(i), "instant"));
    tasks.push_back(queue_->add(models.back().id));
  }

  configure(models);  // the replies come on this thread, at once

  for (const TaskId& task : tasks) EXPECT_TRUE(queue_->wait_for_end(task));
  EXPECT_LE(instant->threads().size(), 2U);
  EXPECT_FALSE(instant->threads().contains(std::this_thread::get_id()));
}

TEST_F(DispatcherTest, EchoesAgainWhenTheStoreWasFull) {
  start({make_model("e", "echo")}, succeed);
  queue_->fail_finishes(3);

  const TaskId task = queue_->add("e", R"({"x":1})");

  EXPECT_EQ(queue_->wait_for_end(task)->outputs.at(0).text, R"({"x":1})");
}

// ---- metadata
// ----------------------------------------------------------------------------------------

TEST_F(DispatcherTest, AddsThePromptAsSentUnlessTheRunnerHasItsOwn) {
  start({make_model("m")}, [](const quern::Run& run, ProgressSink&, const std::stop_token&) {
    auto ending = FakeExecutor::success();
    if (run.input_json.find("\"own\"") != std::string::npos) {
      ending.outcome.metadata_json = R"({"prompt":"better","seed":1})";
    } else {
      ending.outcome.metadata_json = R"({"seed":1})";
    }
    return ending;
  });

  const auto metadata = [&](const char* input) {
    return queue_->wait_for_end(queue_->add("m", input))->metadata_json;
  };

  EXPECT_EQ(metadata(R"({"prompt":"a \"cat\""})"), R"({"prompt":"a \"cat\"","seed":1})");
  EXPECT_EQ(metadata(R"({"prompt":"x","own":1})"), R"({"prompt":"better","seed":1})");
  EXPECT_EQ(metadata(R"({"text":"x"})"), R"({"seed":1})");
}

// ---- news
// --------------------------------------------------------------------------------------------

TEST_F(DispatcherTest, PassesOnProgressAndLogsWhileATaskRuns) {
  Gate gate;
  start({make_model("m")}, [&](const quern::Run&, ProgressSink& sink, const std::stop_token&) {
    sink.progress(0.5);
    sink.log({.time = {}, .severity = LogSeverity::info, .message = "half"});
    gate.wait();
    sink.log({.time = {}, .severity = LogSeverity::info, .message = "last"});
    return FakeExecutor::success();
  });
  const TaskId task = queue_->add("m");

  EXPECT_TRUE(
      queue_->wait_for(task, [](const auto& r) { return !r.logs.empty() && !r.progress.empty(); }));
  gate.open();
  EXPECT_TRUE(queue_->wait_for_end(task));

  const auto record = queue_->record(task);
  EXPECT_EQ(record.progress, std::vector<double>{0.5});
  ASSERT_EQ(record.logs.size(), 2U);
  EXPECT_EQ(record.logs[1].message, "last");  // reported before the finish, or it would be lost
}

TEST_F(DispatcherTest, DropsTheOldestLinesOfAFloodAndSaysSo) {
  start({make_model("m")}, [&](const quern::Run&, ProgressSink& sink, const std::stop_token&) {
    for (int i = 0; i < 100'000; ++i) {
      sink.log({.time = {}, .severity = LogSeverity::info, .message = std::to_string(i)});
    }
    return FakeExecutor::success();
  });
  const TaskId task = queue_->add("m");
  EXPECT_TRUE(queue_->wait_for_end(task));

  const auto logs = queue_->record(task).logs;
  ASSERT_FALSE(logs.empty());
  EXPECT_EQ(logs.back().message, "99999");
  std::uint64_t dropped = 0;
  std::uint64_t kept = 0;
  for (const LogEntry& entry : logs) {
    if (entry.from_quern) {
      dropped += std::stoull(entry.message);
      EXPECT_TRUE(entry.message.ends_with("log lines were dropped here: too many at once"));
    } else {
      ++kept;
    }
  }
  EXPECT_EQ(dropped + kept, 100'000U);
  EXPECT_GT(dropped, 0U);
}

TEST_F(DispatcherTest, KeepsTheLeaseOfAQuietTask) {
  options_.lease_ttl = milliseconds(30);
  std::atomic<bool> stopped = false;
  start({make_model("m")}, [&](const quern::Run&, ProgressSink&, const std::stop_token& stop) {
    auto ending = FakeExecutor::until_stopped(stop);
    stopped = true;
    return ending;
  });
  const TaskId task = queue_->add("m");
  EXPECT_TRUE(wait_until_running(task));

  queue_->cancel_silently(task);  // only a heartbeat's answer tells

  EXPECT_EQ(queue_->wait_for_end(task)->end, AttemptEnd::canceled);
  EXPECT_TRUE(stopped);
}

// ---- stopping
// ----------------------------------------------------------------------------------------

TEST_F(DispatcherTest, StopsACanceledTask) {
  start({make_model("m")}, wait_for_stop);
  const TaskId task = queue_->add("m");
  EXPECT_TRUE(wait_until_running(task));

  queue_->cancel(task);

  const auto outcome = queue_->wait_for_end(task);
  EXPECT_EQ(outcome->end, AttemptEnd::canceled);
  EXPECT_EQ(outcome->error_type, ErrorType::canceled);
  EXPECT_TRUE(eventually([&] { return attempts("m", "canceled") == 1; }));
}

TEST_F(DispatcherTest, LetsAResultThatWasCompleteWinOverACancel) {
  start({make_model("m")}, [](const quern::Run&, ProgressSink&, const std::stop_token& stop) {
    FakeExecutor::until_stopped(stop);
    return FakeExecutor::success();
  });
  const TaskId task = queue_->add("m");
  EXPECT_TRUE(wait_until_running(task));

  queue_->cancel(task);

  EXPECT_EQ(queue_->wait_for_end(task)->end, AttemptEnd::succeeded);
}

TEST_F(DispatcherTest, EndsATaskWhoseTimeIsUp) {
  Model model = make_model("m");
  model.timeout = milliseconds(20);
  start({model}, wait_for_stop);

  const auto outcome = queue_->wait_for_end(queue_->add("m"));

  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->end, AttemptEnd::failed);
  EXPECT_EQ(outcome->error_type, ErrorType::inference_timeout);
  EXPECT_FALSE(outcome->retryable);
  EXPECT_EQ(outcome->error, "");
  EXPECT_EQ(outcome->reason, "timed out after 20ms");
}

TEST_F(DispatcherTest, CallsATaskCanceledThoughItsTimeRanOutFirst) {
  Model model = make_model("m");
  model.timeout = milliseconds(500);  // long enough for the program to begin, on any machine
  Gate timed_out;
  Gate canceled;
  start({model}, [&](const quern::Run&, ProgressSink&, const std::stop_token& stop) {
    auto ending = FakeExecutor::until_stopped(stop);
    timed_out.open();
    canceled.wait();
    return ending;
  });
  const TaskId task = queue_->add("m");
  timed_out.wait();

  queue_->cancel(task);
  queue_->flush();
  canceled.open();

  EXPECT_EQ(queue_->wait_for_end(task)->end, AttemptEnd::canceled);
}

TEST_F(DispatcherTest, DropsWhatAnAttemptSaysThatLostItsLease) {
  start({make_model("m")}, wait_for_stop);
  const TaskId task = queue_->add("m");
  EXPECT_TRUE(wait_until_running(task));

  queue_->lose(task);

  EXPECT_TRUE(eventually([&] { return attempts("m", "lost") == 1; }));
  EXPECT_TRUE(queue_->record(task).outcomes.empty());
}

TEST_F(DispatcherTest, KeepsAResultUntilTheQueueTakesIt) {
  start({make_model("m")}, succeed);
  queue_->fail_finishes(2);

  EXPECT_EQ(queue_->wait_for_end(queue_->add("m"))->end, AttemptEnd::succeeded);
  EXPECT_EQ(executor_->begun(), 1);
}

TEST_F(DispatcherTest, OutlivesAnExecutorThatThrows) {
  start({make_model("m")},
        [](const quern::Run&, ProgressSink&, const std::stop_token&) -> Executor::Ending {
          throw std::runtime_error("out of luck");
        });

  const auto outcome = queue_->wait_for_end(queue_->add("m"));

  EXPECT_EQ(outcome->error_type, ErrorType::internal_server_error);
  EXPECT_TRUE(outcome->retryable);
  EXPECT_EQ(outcome->error, "");
}

TEST_F(DispatcherTest, SettlesEveryTaskOnceWhateverCancelsComeBetween) {
  Model model = make_model("m");
  model.concurrency = 4;
  start({model}, [](const quern::Run&, ProgressSink& sink, const std::stop_token& stop) {
    sink.progress(0.5);
    return stop.stop_requested() ? Executor::Ending{.stopped = true} : FakeExecutor::success();
  });

  std::vector<TaskId> tasks;
  for (int i = 0; i < 500; ++i) {
    tasks.push_back(queue_->add("m"));
    if (i % 3 == 0) queue_->cancel(tasks[static_cast<std::size_t>(i / 2)]);
    if (i % 50 == 0) queue_->lose(tasks.back());
  }
  for (const TaskId& task : tasks) {
    EXPECT_TRUE(queue_->wait_for(task, [](const auto& record) { return record.attempts > 0; }));
  }
  dispatcher_->drain(minutes(1));

  std::uint64_t ended = 0;
  for (const TaskId& task : tasks) {
    const auto record = queue_->record(task);
    EXPECT_LE(record.outcomes.size(), 1U);
    ended += record.attempts;
  }
  EXPECT_EQ(ended, 500U);
  EXPECT_EQ(attempts("m", "succeeded") + attempts("m", "canceled") + attempts("m", "lost") +
                attempts("m", "released"),
            ended);
}

// ---- draining
// ----------------------------------------------------------------------------------------

TEST_F(DispatcherTest, WaitsForRunningTasksWhenItDrains) {
  Gate gate;
  start({make_model("m")}, [&](const quern::Run&, ProgressSink&, const std::stop_token&) {
    gate.wait();
    return FakeExecutor::success();
  });
  const TaskId running = queue_->add("m");
  EXPECT_TRUE(wait_until_running(running));
  const TaskId waiting = queue_->add("m");

  std::thread drain([&] { dispatcher_->drain(minutes(1)); });
  gate.open();
  drain.join();

  EXPECT_EQ(queue_->record(running).outcomes.at(0).end, AttemptEnd::succeeded);
  EXPECT_LE(queue_->record(waiting).attempts, 1U);
}

TEST_F(DispatcherTest, HandsBackWhatStillRunsAfterThePatienceOfADrain) {
  start({make_model("m")}, wait_for_stop);
  const TaskId task = queue_->add("m");
  EXPECT_TRUE(wait_until_running(task));

  dispatcher_->drain(milliseconds(10));

  EXPECT_EQ(queue_->record(task).outcomes.at(0).end, AttemptEnd::released);
  queue_->add("m");
  EXPECT_EQ(executor_->begun(), 1);
}

// ---- with real programs
// --------------------------------------------------------------------------------

class DispatcherProcessTest : public DispatcherTest {
 protected:
  void serve(const std::string& script, milliseconds timeout = minutes(10)) {
    guard_ = std::move(*ProcessGuard::start(folder_.path() / "running"));
    options_.executors = {{"process", std::make_shared<ProcessExecutor>(*store_, *guard_, clock_)}};
    queue_ = std::make_unique<FakeQueue>();
    dispatcher_ = std::make_unique<Dispatcher>(*queue_, *store_, clock_, metrics_, options_);
    queue_->observe(dispatcher_.get());
    Model model = make_model("m", "process");
    model.executor.command = {"/bin/sh", "-c", script};
    model.executor.dir = folder_.path();
    model.timeout = timeout;
    model.concurrency = 2;
    configure({model});
  }
  ~DispatcherProcessTest() override { dispatcher_.reset(); }

  std::size_t count_in(const char* folder) const {
    std::size_t count = 0;
    for (const auto& item :
         std::filesystem::recursive_directory_iterator(folder_.path() / folder)) {
      if (item.is_regular_file()) ++count;
    }
    return count;
  }

  std::unique_ptr<ProcessGuard> guard_;
};

TEST_F(DispatcherProcessTest, RunsAProgramFromInputToOutput) {
  serve(R"sh(
out=$(sed 's/.*"output_dir":"\([^"]*\)".*/\1/')
printf hello > "$out/hello.txt"
echo '{"output":{"type":"text","path":"hello.txt"}}'
echo '{"metadata":{"seed":7}}')sh");

  const TaskId task = queue_->add("m", R"({"prompt":"hi"})");
  const auto outcome = queue_->wait_for_end(task);

  ASSERT_TRUE(outcome);
  ASSERT_EQ(outcome->end, AttemptEnd::succeeded) << outcome->reason;
  EXPECT_EQ(outcome->outputs.at(0).text, "hello");
  EXPECT_EQ(outcome->metadata_json, R"({"prompt":"hi","seed":7})");
  const auto work = folder_.path() / "work" / (task.to_string() + "-1");
  EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(work); }));
}

TEST_F(DispatcherProcessTest, EndsTheProgramOfACanceledTaskBeforeItSaysSo) {
  serve("echo $$ > pid.new; mv pid.new pid; trap 'exit 0' TERM; sleep 1000 & wait");
  const TaskId task = queue_->add("m");
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(folder_.path() / "pid"); }));
  pid_t pid = 0;
  std::ifstream(folder_.path() / "pid") >> pid;

  queue_->cancel(task);

  EXPECT_EQ(queue_->wait_for_end(task)->end, AttemptEnd::canceled);
  EXPECT_FALSE(find_process(pid));
}

TEST_F(DispatcherProcessTest, EndsAProgramWhoseTimeIsUp) {
  serve("sleep 1000", milliseconds(100));

  EXPECT_EQ(queue_->wait_for_end(queue_->add("m"))->error_type, ErrorType::inference_timeout);
}

TEST_F(DispatcherProcessTest, LeavesNoFilesOfAnAttemptThatLostItsLease) {
  serve(R"sh(
out=$(sed 's/.*"output_dir":"\([^"]*\)".*/\1/')
printf hello > "$out/hello.txt"
echo '{"output":{"type":"file","path":"hello.txt"}}'
touch wrote
while ! [ -e go ]; do sleep 0.01; done)sh");
  const TaskId task = queue_->add("m");
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(folder_.path() / "wrote"); }));

  queue_->lose_silently(task);
  std::ofstream(folder_.path() / "go") << "";

  EXPECT_TRUE(eventually([&] { return attempts("m", "lost") == 1; }));
  EXPECT_TRUE(eventually([&] { return count_in("files") == 0; }));
}

TEST_F(DispatcherProcessTest, TellsTheCallerWhatIsWrongWithAnInputFile) {
  serve("exit 0");

  const auto outcome = queue_->wait_for_end(queue_->add("m", R"({"image":"data:;base64,***"})"));

  EXPECT_EQ(outcome->end, AttemptEnd::failed);
  EXPECT_EQ(outcome->error_type, ErrorType::request_invalid);
  EXPECT_TRUE(outcome->error.starts_with("image: ")) << outcome->error;
}

}  // namespace
}  // namespace quern
