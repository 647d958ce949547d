#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runner/dispatcher.h"
#include "runner/dispatcher_fixture.h"
#include "runner/running_attempt.h"

namespace quern {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;

// ---- stopping

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

TEST_F(DispatcherTest, EndsATaskWhoseTimeIsUpBesideOneThatHasMore) {
  Model brief = make_model("brief");
  brief.timeout = milliseconds(20);
  options_.lease_ttl = minutes(10);  // no lease is renewed meanwhile
  start({make_model("long"), brief}, wait_for_stop);
  const TaskId other = queue_->add("long");
  EXPECT_TRUE(wait_until_running(other));

  const auto outcome = queue_->wait_for_end(queue_->add("brief"));

  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->error_type, ErrorType::inference_timeout);
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

TEST_F(DispatcherTest, KeepsTheFirstOfAShutdownAndATimeout) {
  using enum StopReason;
  const auto model = std::make_shared<const Model>(make_model("m"));
  const auto reason_after = [&](std::initializer_list<StopReason> stops) {
    RunningAttempt attempt({}, model, {});
    for (const StopReason stop : stops) attempt.stop(stop);
    return attempt.stop_reason();
  };
  EXPECT_EQ(reason_after({shutdown, timeout}), shutdown);
  EXPECT_EQ(reason_after({timeout, shutdown}), timeout);
  EXPECT_EQ(reason_after({shutdown, timeout, canceled}), canceled);
  EXPECT_EQ(reason_after({timeout, shutdown, lost}), lost);
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

}  // namespace
}  // namespace quern
