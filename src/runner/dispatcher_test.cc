#include "runner/dispatcher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "runner/dispatcher_fixture.h"

namespace quern {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// ---- claiming

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

  run({{"fake", std::make_shared<FakeExecutor>(succeed)}}, {make_model("m")});

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

TEST_F(DispatcherTest, ClaimsForTheSlotOfALimitedKeyBehindItsFinish) {
  Gate ended;
  Gate stored;
  queue_ = std::make_unique<FakeQueue>();
  queue_->limit_key();
  executor_ = std::make_shared<FakeExecutor>(
      [&](const quern::Run&, ProgressSink& sink, const std::stop_token&) {
        sink.work_ended();
        ended.open();
        stored.wait();
        return FakeExecutor::success();
      });
  run({{"fake", executor_}}, {make_model("m")});
  const TaskId first = queue_->add("m");
  ended.wait();
  const TaskId second = queue_->add("m");
  queue_->flush();  // the dispatcher is told of it,
  queue_->flush();  // and its claim would be answered
  EXPECT_FALSE(queue_->record(second).lease);

  stored.open();

  ASSERT_TRUE(queue_->wait_for(second, [](const auto& record) { return record.attempts == 1; }));
  EXPECT_EQ(queue_->record(first).outcomes.size(), 1U);
  EXPECT_TRUE(queue_->wait_for_end(second));
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
    return Executor::Ending{
        .outcome = {.end = AttemptEnd::unstarted, .reason = "could not make a process"}};
  });

  const TaskId task = queue_->add("m");

  ASSERT_TRUE(
      queue_->wait_for(task, [](const auto& record) { return record.outcomes.size() == 3; }));
  const auto outcomes = queue_->record(task).outcomes;
  EXPECT_EQ(outcomes[0].end, AttemptEnd::unstarted);
  EXPECT_EQ(outcomes[0].reason, "could not make a process");
  EXPECT_EQ(outcomes[1].end, AttemptEnd::unstarted);
  EXPECT_EQ(outcomes[2].end, AttemptEnd::succeeded);
}

/// Fills its folder, and then cannot start.
class UnstartedExecutor final : public Executor {
 public:
  Ending run(const quern::Run& run, ProgressSink& /*sink*/, std::stop_token /*stop*/) override {
    for (int i = 0; i < 2'000; ++i) std::ofstream(run.folders.output / std::to_string(i)) << i;
    return {.outcome = {.end = AttemptEnd::unstarted, .reason = "no process"}};
  }
  [[nodiscard]] bool uses_files() const override { return true; }
};

TEST_F(DispatcherTest, HandsBackAnAttemptOnceItsFoldersAreGoneSinceTheNextOneHasTheSame) {
  queue_ = std::make_unique<FakeQueue>();
  run({{"unstarted", std::make_shared<UnstartedExecutor>()}}, {make_model("m", "unstarted")});

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
  EXPECT_EQ(slots("m"), 3);
  configure({make_model("other")});
  EXPECT_EQ(slots("m"), 0);
  EXPECT_EQ(slots("other"), 1);
  gate.open();
  EXPECT_TRUE(queue_->wait_for_end(queue_->add("other")));
  dispatcher_->drain(seconds(30));

  EXPECT_EQ(executor_->begun(), 4);  // three of m, one of other; the fourth of m waits for ever
}

TEST_F(DispatcherTest, EndsTheMetricsOfAModelOnceNothingOfItIsUnderWay) {
  Gate gate;
  start({make_model("m")}, [&](const quern::Run&, ProgressSink&, const std::stop_token&) {
    gate.wait();
    return FakeExecutor::success();
  });
  const TaskId task = queue_->add("m");
  EXPECT_TRUE(eventually([&] { return executor_->begun() == 1; }));

  configure({make_model("other")});
  EXPECT_NE(metrics_.render().find("quern_attempts_running{model=\"m\"} 1\n"), std::string::npos);
  gate.open();
  EXPECT_TRUE(queue_->wait_for_end(task));
  EXPECT_TRUE(eventually([&] {
    configure({make_model("other")});
    return metrics_.render().find("model=\"m\"") == std::string::npos;
  }));

  configure({make_model("m")});
  EXPECT_TRUE(queue_->wait_for_end(queue_->add("m")));
  EXPECT_TRUE(eventually([&] { return attempts("m", "succeeded") == 1; }));
}

TEST_F(DispatcherTest, KeepsTheFilesOfAFinishThatWaitsForTheStoreFromTheSweep) {
  namespace fs = std::filesystem;
  const AttemptFolders folders = *store_->make_folders({.high = 9, .low = 9}, 1);
  std::ofstream(folders.output / "a.txt") << "a";
  const Output output = *store_->adopt(folders, "a.txt", OutputType::file);
  const fs::path folder = store_->find_path(output.file_key, output.file_name)->parent_path();
  const auto now = fs::file_time_type::clock::now();
  fs::last_write_time(folder, now - std::chrono::hours(48));
  start({make_model("m")}, [&](const quern::Run&, ProgressSink&, const std::stop_token&) {
    auto ending = FakeExecutor::success();
    ending.outcome.outputs = {output};
    return ending;
  });
  queue_->fail_finishes(5);

  const TaskId task = queue_->add("m");

  EXPECT_TRUE(
      eventually([&] { return fs::last_write_time(folder) > now - std::chrono::hours(1); }));
  EXPECT_TRUE(queue_->wait_for_end(task));
}

// ---- the instant ones

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
      EXPECT_EQ(outcome->outputs[0].text, R"({"prompt":"hi","n":[1,2.5,null]})");
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
  queue_ = std::make_unique<FakeQueue>(FakeQueue::Answers::at_once);
  std::vector<Model> models;
  std::vector<TaskId> tasks;
  for (int i = 0; i < 200; ++i) {
    models.push_back(make_model("m" + std::to_string(i), "instant"));
    tasks.push_back(queue_->add(models.back().id));
  }

  run({{"instant", instant}}, models);  // the replies come on this thread, at once

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

TEST_F(DispatcherTest, DropsTheOldestLinesOfAFloodAndCountsThem) {
  start({make_model("m")}, [&](const quern::Run&, ProgressSink& sink, const std::stop_token&) {
    for (int i = 0; i < 100'000; ++i) {
      sink.log({.time = {}, .severity = LogSeverity::info, .message = std::to_string(i)});
    }
    return FakeExecutor::success();
  });
  const TaskId task = queue_->add("m");
  EXPECT_TRUE(queue_->wait_for_end(task));

  const auto record = queue_->record(task);
  ASSERT_FALSE(record.logs.empty());
  EXPECT_EQ(record.logs.back().message, "99999");
  EXPECT_TRUE(std::ranges::none_of(record.logs, &LogEntry::from_quern));
  EXPECT_EQ(record.logs_dropped + record.logs.size(), 100'000U);
  EXPECT_GT(record.logs_dropped, 0U);
}

TEST_F(DispatcherTest, FinishesOnlyWhenTheNewsUnderWayAreHandedOver) {
  Gate sending;
  queue_ = std::make_unique<FakeQueue>();
  std::atomic<bool> finished_first = false;
  queue_->before_heartbeat([&] {
    sending.open();
    finished_first = queue_->wait_for_finish(milliseconds(200));
  });
  executor_ = std::make_shared<FakeExecutor>(
      [&](const quern::Run&, ProgressSink& sink, const std::stop_token&) {
        sink.log({.time = {}, .severity = LogSeverity::info, .message = "last"});
        sending.wait();  // the beat thread has taken the line, and not yet passed it on
        return FakeExecutor::success();
      });
  run({{"fake", executor_}}, {make_model("m")});

  const TaskId task = queue_->add("m");

  EXPECT_TRUE(queue_->wait_for_end(task));
  EXPECT_FALSE(finished_first);
  ASSERT_EQ(queue_->record(task).logs.size(), 1U);
  EXPECT_EQ(queue_->record(task).logs[0].message, "last");
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

}  // namespace
}  // namespace quern
