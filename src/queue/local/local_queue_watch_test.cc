// Who waits for a task's next change is told of it, whenever the waiting began.

#include <gtest/gtest.h>

#include <atomic>
#include <ctime>
#include <latch>
#include <thread>

#include "queue/local/local_queue_fixture.h"
#include "testing/eventually.h"

namespace quern {
namespace {

TEST_F(LocalQueueTest, TellsAWatcherWhoCameWhileTheEndOfItsTaskWasBeingPublished) {
  // A transaction that ends many tasks counts them one by one between its commit and the moment
  // when all are seen to have ended: whoever sees the first one counted comes right between.
  constexpr int kRounds = 5;
  constexpr int kTasks = 1'000;  // of one transaction
  const Counter& ended = harness_.metrics().counter(
      "quern_tasks_ended_total", "Tasks that ended, by state.", {{"state", "succeeded"}});
  for (int round = 0; round < kRounds; ++round) {
    std::latch created(kTasks - 1);
    for (int i = 1; i < kTasks; ++i) {
      queue().submit(submission(), [&](Result<Submitted>) { created.count_down(); });
    }
    created.wait();
    const TaskId id = submit(queue())->id;
    const std::uint64_t ended_before = ended.value();
    std::latch finished(kTasks);
    // What is asked for by a reply waits until the commit thread has given all replies.
    queue().claim({.model = "echo", .count_max = kTasks}, [&](Result<std::vector<Claim>> claims) {
      for (const Claim& claimed : claims.value()) {
        queue().finish(claimed.lease, {.end = AttemptEnd::succeeded},
                       [&](Result<TaskState>) { finished.count_down(); });
      }
    });
    const auto is_publishing = [&] {
      for (int i = 0; i < 1'000'000; ++i) {
        if (ended.value() != ended_before) return true;
      }
      return false;
    };
    ASSERT_TRUE(eventually(is_publishing));

    std::atomic<bool> told{false};
    const Watch watch = queue().watch(id, WatchFor::state, [&] { told = true; });
    const Result<TaskView> seen =
        ask<TaskView>([&](auto reply) { queue().find({.ref = {.id = id}}, std::move(reply)); });

    finished.wait();  // who watches is told before who finishes
    ASSERT_TRUE(seen);
    EXPECT_TRUE(told || is_terminal(seen->state)) << "in round " << round;
  }
}

TEST_F(LocalQueueTest, TellsAWatcherWhoCameWhileTheLinesOfManyTasksWereBeingTakenIn) {
  constexpr int kTasks = 1'000;
  for (int i = 1; i < kTasks; ++i) {
    queue().submit(submission(), [](Result<Submitted>) {});
  }
  ASSERT_TRUE(submit(queue()));
  const std::vector<Claim> claims = claim(queue(), kTasks);
  ASSERT_EQ(claims.size(), static_cast<std::size_t>(kTasks));
  ASSERT_TRUE(list(queue()));  // the tables have them, which makes a look at the lines quick
  std::latch beaten(kTasks);
  // What is asked for by a reply waits until the commit thread has given all replies.
  queue().claim({.model = "no-such"}, [&](Result<std::vector<Claim>>) {
    for (const Claim& claimed : claims) {
      Beat beat;
      beat.logs.push_back({claimed.submitted, LogSeverity::info, false, "working"});
      queue().heartbeat(claimed.lease, std::move(beat),
                        [&](Result<BeatAnswer>) { beaten.count_down(); });
    }
  });
  const auto has_line = [&](const Claim& claimed) {
    const Result<TaskView> view = find(queue(), claimed.lease.task);
    return view && std::ranges::any_of(
                       view->logs, [](const LogEntry& line) { return line.message == "working"; });
  };
  ASSERT_TRUE(eventually([&] { return has_line(claims.front()); }));

  std::atomic<bool> told{false};
  const Watch watch =
      queue().watch(claims.back().lease.task, WatchFor::everything, [&] { told = true; });
  const bool saw = has_line(claims.back());

  beaten.wait();  // who watches is told before who beats
  EXPECT_TRUE(told || saw);
}

TEST_F(LocalQueueTest, TellsAWatcherOfProgressThoughTheRestOfItsBatchCouldNotBeStored) {
  const TaskId id = submit(queue())->id;
  const Lease lease = claim(queue()).at(0).lease;
  std::atomic<bool> told{false};
  const Watch watch = queue().watch(id, WatchFor::everything, [&] { told = true; });
  told = false;
  harness_.local().set_disk_full(true);
  std::latch answered(2);

  // What is asked for by a reply is one batch.
  queue().claim({.model = "no-such"}, [&](const Result<std::vector<Claim>>&) {
    queue().submit(submission(), [&](Result<Submitted> made) {
      EXPECT_FALSE(made);
      answered.count_down();
    });
    queue().heartbeat(lease, {.progress = 0.5}, [&](Result<BeatAnswer> answer) {
      EXPECT_TRUE(answer);
      answered.count_down();
    });
  });
  answered.wait();

  EXPECT_TRUE(told);
  harness_.local().set_disk_full(false);
}

TEST_F(LocalQueueTest, RestsWhenNobodyWatchesAnyMoreThoughPositionsWereStillToBeTold) {
  const TaskId id = submit(queue())->id;
  Watch watch = queue().watch(id, WatchFor::everything, [] {});
  ASSERT_TRUE(submit(queue()));  // told at once, the next one in 100 ms
  ASSERT_TRUE(submit(queue()));
  watch.reset();
  harness_.advance(std::chrono::seconds{1});

  // A thread that does not rest shows in nothing else.
  const std::clock_t begun = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds{500});
  const double busy = static_cast<double>(std::clock() - begun) / CLOCKS_PER_SEC;

  EXPECT_LT(busy, 0.05) << "seconds of 0.5";
}

// The moment is one of a microsecond between two locks, and nothing of the queue's tells of it, so
// the last of many watches is to be in it. Without a lock that is kept some of these rounds found it.
TEST_F(LocalQueueTest, TellsOfPositionsAWatcherWhoCameWhileItsTaskWasQueuedAgain) {
  constexpr int kRounds = 60;
  for (int round = 0; round < kRounds; ++round) {
    Submission low = submission();
    low.priority = Priority::low;
    const TaskId id =
        ask<Submitted>([&](auto reply) { queue().submit(low, std::move(reply)); })->id;
    const Lease lease = claim(queue()).at(0).lease;
    const TaskId ahead = submit(queue())->id;
    const auto is_queued = [&] { return queue().stats().queued == 2; };
    std::atomic<int> told{0};
    std::latch released(1);

    queue().finish(lease, {.end = AttemptEnd::released},
                   [&](Result<TaskState>) { released.count_down(); });
    Watch watch;
    do {
      watch.reset();
      watch = queue().watch(id, WatchFor::everything, [&] { ++told; });
    } while (!is_queued());
    released.wait();
    harness_.advance(std::chrono::seconds{1});
    told = 0;
    ASSERT_TRUE(
        ask<CancelAnswer>([&](auto reply) { queue().cancel({.id = ahead}, std::move(reply)); }));
    harness_.advance(std::chrono::seconds{1});

    EXPECT_GT(told, 0) << "in round " << round;
    watch.reset();
    ASSERT_TRUE(
        ask<CancelAnswer>([&](auto reply) { queue().cancel({.id = id}, std::move(reply)); }));
  }
}

}  // namespace
}  // namespace quern
