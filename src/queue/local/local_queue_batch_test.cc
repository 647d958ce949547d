// What one batch owes another: commands that have gathered behind each other, and commits that fail.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <future>
#include <string>
#include <vector>

#include "queue/local/local_queue_fixture.h"
#include "testing/eventually.h"

namespace quern {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

class BatchTest : public LocalQueueTest {
 protected:
  /// Calls `gather` while the commit thread is busy: what it asks for is found together.
  void meanwhile(const std::function<void()>& gather) {
    std::promise<void> gathered;
    queue().submit(submission(), [&](Result<Submitted>) {
      gather();
      gathered.set_value();
    });
    gathered.get_future().wait();
  }
  /// A running task.
  Claim start_one(milliseconds lease_ttl = seconds{30}) {
    EXPECT_TRUE(submit(queue()));
    auto claims = ask<std::vector<Claim>>([&](auto reply) {
      queue().claim({.model = "echo", .lease_ttl = lease_ttl}, std::move(reply));
    });
    EXPECT_EQ(claims->size(), 1U);
    return std::move(claims->at(0));
  }
  void serve(std::vector<ModelPolicy> models) {
    ASSERT_TRUE(ask<bool>([&](auto reply) {
      queue().configure({.models = std::move(models), .keys = {}}, std::move(reply));
    }));
  }
  std::uint64_t attempts(const std::string& result) {
    return harness_.metrics()
        .counter("quern_queue_attempts_ended_total",
                 "Attempts that ended, by result, as the store has them.", {{"result", result}})
        .value();
  }
};

/// Notes which stops came before the claim of their attempt.
class StopObserver final : public QueueObserver {
 public:
  void on_stop(const Lease& /*lease*/, bool canceled) override {
    EXPECT_TRUE(canceled);
    was_claimed = is_claimed.load();
    ++stops;
  }
  std::atomic<bool> is_claimed{false};
  std::atomic<bool> was_claimed{false};
  std::atomic<int> stops{0};
};

TEST_F(BatchTest, TellsOfAStopOnceTheClaimOfTheAttemptIsAnswered) {
  StopObserver observer;
  queue().observe(&observer);
  const TaskId id = submit(queue())->id;

  meanwhile([&] {
    queue().claim({.model = "echo"},
                  [&](Result<std::vector<Claim>> claims) { observer.is_claimed = claims->size(); });
    queue().cancel({.id = id}, [](Result<CancelAnswer>) {});
  });

  EXPECT_TRUE(eventually([&] { return observer.stops == 1; }));
  EXPECT_TRUE(observer.was_claimed);
  queue().observe(nullptr);
}

TEST_F(BatchTest, LosesNoLeaseWhoseHeartbeatHasComeInTime) {
  const Claim claimed = start_one(seconds{3});
  std::promise<bool> kept;

  meanwhile([&] {
    harness_.clock().advance(seconds{5});  // as long as a sync that stalls
    queue().configure({.models = {{.id = "echo"}}, .keys = {}}, [](Result<bool>) {});
    queue().heartbeat(claimed.lease, {},
                      [&](Result<BeatAnswer> answer) { kept.set_value(answer.has_value()); });
  });

  EXPECT_TRUE(kept.get_future().get());
  EXPECT_TRUE(finish(queue(), claimed.lease));
}

TEST_F(BatchTest, LosesNoLeaseWhoseHeartbeatComesWhileARunGoesOn) {
  const Claim claimed = start_one(seconds{3});
  std::promise<bool> kept;

  meanwhile([&] {
    queue().configure({.models = {{.id = "echo"}}, .keys = {}}, [&](Result<bool>) {
      queue().heartbeat(claimed.lease, {},
                        [&](Result<BeatAnswer> answer) { kept.set_value(answer.has_value()); });
      harness_.clock().advance(seconds{5});  // as long as a sync that stalls
    });
    queue().submit(submission(), [](Result<Submitted>) {});  // a transaction of the same run
  });

  EXPECT_TRUE(kept.get_future().get());
  EXPECT_TRUE(finish(queue(), claimed.lease));
}

TEST_F(BatchTest, LosesNoLeaseWhoseEndHasComeInTime) {
  const Claim claimed = start_one(seconds{3});
  std::promise<Result<TaskState>> ended;

  meanwhile([&] {
    harness_.clock().advance(seconds{5});  // as long as a sync that stalls
    queue().configure({.models = {{.id = "echo"}}, .keys = {}}, [](Result<bool>) {});
    queue().finish(claimed.lease, {.end = AttemptEnd::succeeded},
                   [&](Result<TaskState> state) { ended.set_value(std::move(state)); });
  });

  EXPECT_EQ(ended.get_future().get(), TaskState::succeeded);
}

TEST_F(BatchTest, KeepsTheLeaseOfWhoBringsAnEndThatCannotBeStored) {
  const Claim claimed = start_one(seconds{3});
  harness_.local().set_disk_full(true);
  for (int i = 0; i < 3; ++i) {
    harness_.clock().advance(seconds{2});
    const Result<TaskState> refused = finish(queue(), claimed.lease);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
  }

  harness_.local().set_disk_full(false);
  harness_.advance(seconds{2});

  EXPECT_TRUE(queue().stats().writable);
  EXPECT_EQ(finish(queue(), claimed.lease), TaskState::succeeded);
}

TEST_F(BatchTest, LosesALeaseByItselfThatCameDueWhileARunWentOn) {
  const Claim claimed = start_one(seconds{3});

  meanwhile([&] {
    queue().configure({.models = {{.id = "echo"}}, .keys = {}},
                      [&](Result<bool>) { harness_.clock().advance(seconds{5}); });
    queue().submit(submission(), [](Result<Submitted>) {});
  });

  harness_.advance(seconds{1});
  EXPECT_TRUE(eventually([&] { return queue().stats().running == 0; }));
}

TEST_F(BatchTest, LosesNoLeaseWhoseHeartbeatCouldNotBeSentBecauseTheProcessStoodStill) {
  const Claim claimed = start_one(seconds{3});

  harness_.clock().advance(seconds{10});
  harness_.local().wake();
  harness_.settle();  // the queue goes on before whoever sends heartbeats
  const auto kept =
      ask<BeatAnswer>([&](auto reply) { queue().heartbeat(claimed.lease, {}, std::move(reply)); });
  harness_.advance(seconds{1});

  EXPECT_TRUE(kept);
  EXPECT_TRUE(finish(queue(), claimed.lease));
}

TEST_F(BatchTest, LosesNoLeaseThoughTheProcessStandsStillAgainBeforeAHeartbeatIsSent) {
  const Claim claimed = start_one(seconds{3});

  for (int i = 0; i < kStandstillsMax; ++i) {
    harness_.clock().advance(seconds{10});
    harness_.local().wake();
    harness_.settle();
  }

  EXPECT_TRUE(finish(queue(), claimed.lease));
}

TEST_F(BatchTest, LosesALeaseAfterAStandstillThatNobodyRenews) {
  start_one(seconds{3});

  for (int i = 0; i <= kStandstillsMax; ++i) {  // each look is late
    harness_.clock().advance(seconds{10});
    harness_.settle();
  }

  EXPECT_EQ(queue().stats().running, 0U);
}

TEST_F(BatchTest, EndsTheTasksOfAModelThatIsGoneThoughACommitFailed) {
  const TaskId id = submit(queue())->id;
  harness_.local().set_disk_full(true);
  serve({{.id = "other"}});
  EXPECT_FALSE(
      ask<CancelAnswer>([&](auto reply) { queue().cancel({.id = id}, std::move(reply)); }));

  harness_.local().set_disk_full(false);
  harness_.advance(seconds{2});

  EXPECT_EQ(find(queue(), id)->state, TaskState::failed);
}

TEST_F(BatchTest, CountsAnAttemptOnceThoughItsCommitFailedBefore) {
  const Claim claimed = start_one();
  harness_.local().set_disk_full(true);
  EXPECT_FALSE(finish(queue(), claimed.lease));
  EXPECT_EQ(attempts("succeeded"), 0U);

  harness_.local().set_disk_full(false);
  EXPECT_TRUE(finish(queue(), claimed.lease));

  EXPECT_EQ(attempts("succeeded"), 1U);
}

TEST_F(BatchTest, PutsNoMoreResultsIntoATransactionThanInputs) {
  constexpr int kTasks = 12;
  const std::string text(3'000'000, 'x');
  std::vector<Claim> claims;
  for (int i = 0; i < kTasks; ++i) claims.push_back(start_one());
  std::atomic<int> finished{0};
  const auto commits = [&] {
    const Histogram& batches = harness_.metrics().histogram(
        "quern_queue_batch_commands", "Commands that share one transaction.", size_bounds());
    std::uint64_t count = 0;
    for (std::size_t i = 0; i <= batches.bounds().size(); ++i) count += batches.bucket(i);
    return count;
  };
  std::uint64_t before = 0;

  meanwhile([&] {
    before = commits();
    for (const Claim& claimed : claims) {
      Outcome outcome{.end = AttemptEnd::succeeded};
      outcome.outputs.push_back({.type = OutputType::text, .text = text});
      queue().finish(claimed.lease, std::move(outcome), [&](Result<TaskState>) { ++finished; });
    }
  });

  EXPECT_TRUE(eventually([&] { return finished == kTasks; }));
  EXPECT_GE(commits() - before, 2U) << "36 MB, and 16 MiB are the most but for the last result";
}

TEST_F(BatchTest, ForgetsIdempotencyRecordsWithoutAPauseBetween) {
  constexpr int kRecords = 1'200;
  std::atomic<int> made{0};
  for (int i = 0; i < kRecords; ++i) {
    Submission task = submission();
    task.idempotency = IdempotencyKey{.key = "ada", .name = std::to_string(i)};
    queue().submit(std::move(task), [&](Result<Submitted>) { ++made; });
  }
  ASSERT_TRUE(eventually([&] { return made == kRecords; }));

  ASSERT_TRUE(list(queue()));  // has all of them in the tables
  hold_tables();
  harness_.advance(hours{25});
  harness_.advance(seconds{1});  // a look while the tables do not know yet
  gate_.open();

  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(list(queue()));
    harness_.advance(seconds{1});
  }

  EXPECT_EQ(Connection::open(database_in(harness_.folder()), Connection::Mode::read_only)
                ->query_integer("SELECT count(*) FROM idempotency")
                .value(),
            0);
}

TEST_F(BatchTest, ForgetsLargeResultsLookByLook) {
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(finish(queue(), start_one().lease, std::string(3'000'000, 'x')));
  }

  harness_.clock().advance(kContractRetention + std::chrono::minutes{5});
  harness_.local().wake();
  harness_.settle();
  EXPECT_EQ(list(queue())->tasks.size(), 3U) << "6 MB, and 4 MiB are the most but for the last";

  // Before a look that found everything would be repeated.
  for (int i = 0; i < 2; ++i) harness_.advance(milliseconds{20});
  EXPECT_TRUE(list(queue())->tasks.empty());
}

TEST_F(BatchTest, TellsOfTheAttemptThatRunsThoughTheClockWasSetBack) {
  serve({{.id = "echo",
          .attempts_max = 2,
          .backoff_min = milliseconds{1},
          .backoff_max = milliseconds{1}}});
  const Claim first = start_one();
  ASSERT_TRUE(ask<TaskState>([&](auto reply) {
    queue().finish(
        first.lease,
        {.end = AttemptEnd::failed, .error_type = ErrorType::inference_failure, .retryable = true},
        std::move(reply));
  }));
  harness_.clock().jump_wall(-hours{1});
  harness_.advance(seconds{1});
  const std::vector<Claim> again = claim(queue());
  ASSERT_EQ(again.size(), 1U);

  const auto view = ask<TaskView>([&](auto reply) {
    queue().find({.ref = {.id = first.lease.task}, .attempts = true}, std::move(reply));
  });

  ASSERT_TRUE(view);
  ASSERT_EQ(view->attempts.size(), 2U);
  EXPECT_EQ(view->attempts.back().number, 2U);
  EXPECT_FALSE(view->attempts.back().ended);
}

TEST_F(BatchTest, KeepsALeaseWhoseClaimWasLongInBeingStored) {
  ASSERT_TRUE(submit(queue()));
  std::promise<Lease> claimed;

  meanwhile([&] {
    // Answered before the claim of the same transaction, so the time goes by as in a sync that stalls.
    queue().submit(submission(), [&](Result<Submitted>) { harness_.clock().advance(seconds{31}); });
    queue().claim(
        {.model = "echo", .lease_ttl = seconds{30}},
        [&](Result<std::vector<Claim>> claims) { claimed.set_value(claims->at(0).lease); });
  });
  const Lease lease = claimed.get_future().get();
  harness_.settle();

  EXPECT_TRUE(ask<BeatAnswer>([&](auto reply) { queue().heartbeat(lease, {}, std::move(reply)); }));
  EXPECT_EQ(attempts("lost"), 0U);
}

TEST_F(BatchTest, ForgetsIdempotencyRecordsBehindManyOfAClockThatWasAhead) {
  constexpr int kAhead = 1'200;
  constexpr int kRight = 700;
  const auto create = [&](const std::string& prefix, int count) {
    std::atomic<int> made{0};
    for (int i = 0; i < count; ++i) {
      Submission task = submission();
      task.idempotency = IdempotencyKey{.key = "ada", .name = prefix + std::to_string(i)};
      queue().submit(std::move(task), [&](Result<Submitted>) { ++made; });
    }
    ASSERT_TRUE(eventually([&] { return made == count; }));
  };
  const auto records = [&] {
    EXPECT_TRUE(list(queue()));  // has all of them in the tables
    return Connection::open(database_in(harness_.folder()), Connection::Mode::read_only)
        ->query_integer("SELECT count(*) FROM idempotency")
        .value();
  };
  harness_.clock().jump_wall(hours{24 * 365});
  create("ahead", kAhead);
  harness_.clock().jump_wall(-hours{24 * 365});
  create("right", kRight);
  ASSERT_EQ(records(), kAhead + kRight);

  for (int i = 0; i < 40; ++i) {
    harness_.advance(hours{1});
    ASSERT_TRUE(list(queue()));
  }

  EXPECT_EQ(records(), kAhead);
}

TEST_F(BatchTest, FailsNoOtherCreateForAnIdempotencyRecordThatCannotBeRead) {
  const auto create = [&](const std::string& name, Reply<Submitted> reply) {
    Submission task = submission();
    task.idempotency = IdempotencyKey{.key = "ada", .name = name};
    queue().submit(std::move(task), std::move(reply));
  };
  ASSERT_TRUE(ask<Submitted>([&](auto reply) { create("damaged", std::move(reply)); }));
  ASSERT_TRUE(list(queue()));  // has it in the tables
  ASSERT_TRUE(Connection::open(database_in(harness_.folder()), Connection::Mode::read_write)
                  ->execute("UPDATE idempotency SET fingerprint = x'00'"));
  std::promise<bool> same;
  std::promise<bool> other;

  meanwhile([&] {
    create("damaged", [&](Result<Submitted> made) { same.set_value(made.has_value()); });
    create("other", [&](Result<Submitted> made) { other.set_value(made.has_value()); });
  });

  EXPECT_FALSE(same.get_future().get());
  EXPECT_TRUE(other.get_future().get());
}

TEST_F(BatchTest, KeepsTheLinesOfEarlierAttemptsThoughTheyCouldNotBeReadOnce) {
  serve({{.id = "echo", .backoff_min = milliseconds{0}, .backoff_max = milliseconds{0}}});
  const auto beat = [&](const Lease& lease, const std::string& text) {
    Beat line;
    line.logs.push_back({harness_.clock().now().wall, LogSeverity::info, false, text});
    ASSERT_TRUE(ask<BeatAnswer>(
        [&](auto reply) { queue().heartbeat(lease, std::move(line), std::move(reply)); }));
  };
  const Lease first = start_one().lease;
  beat(first, "one");
  beat(first, "two");
  ASSERT_TRUE(ask<TaskState>([&](auto reply) {
    queue().finish(first, {.end = AttemptEnd::failed, .retryable = true}, std::move(reply));
  }));
  const Lease second = claim(queue()).at(0).lease;
  ASSERT_TRUE(list(queue()));  // has all of it in the tables

  {
    Connection tables =
        Connection::open(database_in(harness_.folder()), Connection::Mode::read_write).value();
    ASSERT_TRUE(tables.execute("ALTER TABLE log RENAME TO hidden"));
    beat(second, "lost");
    ASSERT_TRUE(tables.execute("ALTER TABLE hidden RENAME TO log"));
  }
  beat(second, "three");
  ASSERT_TRUE(finish(queue(), second));

  std::string lines;
  const Result<TaskView> view = find(queue(), first.task);
  for (const LogEntry& line : view->logs) {
    if (!line.from_quern) lines += line.message + " ";
  }
  EXPECT_EQ(lines, "one two three ");
}

TEST_F(BatchTest, DoesWhatIsDueBesideCommandsThatRunAlone) {
  constexpr int kPurges = 5;
  Submission hurried = submission();
  hurried.start_timeout = seconds{5};
  ASSERT_TRUE(ask<Submitted>([&](auto reply) { queue().submit(hurried, std::move(reply)); }));
  int left = kPurges;
  std::promise<std::uint64_t> queued;
  // Each is asked for by the reply of the one before, so there is no moment without one.
  std::function<void()> purge = [&] {
    queue().purge({.id = TaskId{1, 1}}, [&](Result<bool>) {
      harness_.clock().advance(kStandstillGrace);
      if (--left > 0) return purge();
      queued.set_value(queue().stats().queued);
    });
  };

  meanwhile([&] {
    harness_.clock().advance(seconds{10});
    purge();
  });

  EXPECT_EQ(queued.get_future().get(), 1U) << "the one that waits for no longer than it likes";
}

TEST_F(BatchTest, SaysWhenTheWallClockJumpsAheadAndWhenItIsFollowedAgain) {
  const auto log_of = [&](hours time) {
    testing::internal::CaptureStderr();
    for (; time > hours{0}; time -= hours{1}) harness_.advance(hours{1});
    return testing::internal::GetCapturedStderr();
  };
  const TaskId id = submit(queue())->id;
  ASSERT_TRUE(finish(queue(), claim(queue()).at(0).lease));

  harness_.clock().jump_wall(hours{24 * 365 * 56});
  const std::string doubted = log_of(hours{20});
  EXPECT_TRUE(find(queue(), id));
  const std::string believed = log_of(hours{5});

  EXPECT_EQ(std::ranges::count(doubted, '\n'), 1) << doubted;
  EXPECT_NE(doubted.find("the wall clock jumped ahead"), std::string::npos) << doubted;
  EXPECT_NE(believed.find("by the wall clock again"), std::string::npos) << believed;
  EXPECT_FALSE(find(queue(), id));
}

TEST_F(BatchTest, SaysWhenItCannotLookForWhatIsToBeForgottenAndWhenItCanAgain) {
  ASSERT_TRUE(finish(queue(), start_one().lease));
  ASSERT_TRUE(list(queue()));  // has it in the tables
  Connection tables =
      Connection::open(database_in(harness_.folder()), Connection::Mode::read_write).value();
  const auto log_of_a_day = [&] {
    testing::internal::CaptureStderr();
    for (int i = 0; i < 24; ++i) harness_.advance(hours{1});
    return testing::internal::GetCapturedStderr();
  };

  ASSERT_TRUE(tables.execute("ALTER TABLE ended RENAME COLUMN outputs TO hidden"));
  const std::string failing = log_of_a_day() + log_of_a_day() + log_of_a_day();
  ASSERT_TRUE(tables.execute("ALTER TABLE ended RENAME COLUMN hidden TO outputs"));
  const std::string mended = log_of_a_day();

  EXPECT_EQ(std::ranges::count(failing, '\n'), 1) << failing;
  EXPECT_NE(failing.find(R"("msg":"what is past its retention cannot be looked for")"),
            std::string::npos)
      << failing;
  EXPECT_EQ(std::ranges::count(mended, '\n'), 1) << mended;
  EXPECT_NE(mended.find(R"("msg":"what is past its retention is found again")"), std::string::npos)
      << mended;
  EXPECT_TRUE(list(queue())->tasks.empty());
}

}  // namespace
}  // namespace quern
