#include "queue/local/local_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <latch>
#include <string>
#include <thread>
#include <unordered_map>

#include "base/delayed_wakes.h"
#include "queue/local/local_queue_fixture.h"
#include "queue/queue_contract.h"
#include "testing/eventually.h"

namespace quern {
namespace {

std::unique_ptr<QueueHarness> make_without_caches() {
  return std::make_unique<LocalHarness>(
      LocalQueueOptions{.body_cache_bytes = 0, .result_cache_bytes = 0, .checkpoint_pages = 8});
}

INSTANTIATE_TEST_SUITE_P(Local, QueueContract,
                         testing::Values(QueueMaker{[] {
                                           return std::make_unique<LocalHarness>();
                                         }},
                                         QueueMaker{make_without_caches}),
                         [](const auto& named) {
                           return std::string(named.index == 0 ? "WithCaches" : "WithoutCaches");
                         });

// ---- opening and ending --------------------------------------------------------------------------

TEST_F(LocalQueueTest, RefusesAFolderThatAnotherProcessUses) {
  SystemRandom random;
  Metrics metrics;

  const Result<std::unique_ptr<LocalQueue>> second =
      LocalQueue::open({.folder = harness_.folder()}, harness_.clock(), random, metrics);

  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::conflict);
  EXPECT_EQ(second.error().message, "data folder " + harness_.folder().string() +
                                        " is in use by process " + std::to_string(::getpid()));
}

TEST_F(LocalQueueTest, WakesWhomItAnswersOnlyWhenABatchIsAnswered) {
  struct Sleeper final : Wakeable {
    void wake() override { ++wakes; }
    std::atomic<int> wakes{0};
  };
  const auto sleeper = std::make_shared<Sleeper>();
  bool was_woken = true;

  queue().submit(submission(), [&](Result<Submitted>) {
    DelayedWakes::wake(sleeper);
    was_woken = sleeper->wakes > 0;
  });

  ASSERT_TRUE(eventually([&] { return sleeper->wakes > 0; }));
  EXPECT_FALSE(was_woken);
  EXPECT_EQ(sleeper->wakes, 1);
}

TEST_F(LocalQueueTest, AnswersEverythingThatWasAskedBeforeAStopAndRefusesTheRest) {
  constexpr int kTasks = 500;
  std::atomic<int> accepted{0};
  for (int i = 0; i < kTasks; ++i) {
    queue().submit(submission(), [&](Result<Submitted> made) { accepted += made ? 1 : 0; });
  }

  harness_.local().stop();
  harness_.local().stop();

  EXPECT_EQ(accepted, kTasks);
  const Result<Submitted> late = submit(queue());
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::unavailable);
  EXPECT_FALSE(find(queue(), TaskId{}));
  EXPECT_EQ(queue().stats().queued, kTasks);
}

TEST_F(LocalQueueTest, TakesNothingBeforeItKnowsItsModels) {
  harness_.reopen();

  const Result<Submitted> early = submit(queue());

  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().code, ErrorCode::unavailable);
  configure(queue());
  EXPECT_TRUE(submit(queue()));
}

// ---- a store that cannot be written --------------------------------------------------------------

TEST_F(LocalQueueTest, RefusesCreatesOnAFullDiskKeepsTheRestGoingAndResumes) {
  const std::string body = "{\"prompt\":\"" + std::string(20'000, 'x') + "\"}";
  const TaskId running = submit(queue(), body)->id;
  const Lease lease = claim(queue()).at(0).lease;
  constexpr std::uint64_t accepted = 3;
  for (std::uint64_t i = 0; i < accepted; ++i) ASSERT_TRUE(submit(queue(), body));
  harness_.local().set_disk_full(true);

  const Result<Submitted> refused = submit(queue(), body);

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
  EXPECT_GT(refused.error().retry_after.count(), 0);
  EXPECT_FALSE(queue().stats().writable);
  EXPECT_THAT(queue().stats().unwritable_reason, testing::HasSubstr("the disk is full"));
  EXPECT_EQ(queue().stats().queued, accepted);
  EXPECT_EQ(find(queue(), running)->state, TaskState::running);
  EXPECT_TRUE(ask<BeatAnswer>(
      [&](auto reply) { queue().heartbeat(lease, {.progress = 0.5}, std::move(reply)); }));
  EXPECT_EQ(find(queue(), running)->progress, 0.5);
  const Result<TaskState> early = finish(queue(), lease, std::string(100'000, 'y'));
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().code, ErrorCode::unavailable);

  harness_.local().set_disk_full(false);
  harness_.advance(std::chrono::seconds{2});

  EXPECT_TRUE(queue().stats().writable);
  EXPECT_EQ(finish(queue(), lease), TaskState::succeeded);
  EXPECT_TRUE(submit(queue(), body));
  EXPECT_EQ(claim(queue(), 1'000).size(), accepted + 1);
}

TEST_F(LocalQueueTest, FindsOutByItselfThatTheStoreCanBeWrittenAgain) {
  harness_.local().set_disk_full(true);
  ASSERT_FALSE(submit(queue()));
  ASSERT_FALSE(queue().stats().writable);
  harness_.local().set_disk_full(false);

  harness_.clock().advance(std::chrono::seconds{2});
  harness_.local().wake();

  EXPECT_TRUE(eventually([&] { return queue().stats().writable; }));
}

// ---- inputs that are read again ------------------------------------------------------------------

/// Nothing of the inputs is kept in memory.
class LocalQueueInputsTest : public LocalQueueTest {
 protected:
  LocalQueueInputsTest() { configure(bare_.queue()); }

  static std::string input_of(int i) {
    return "{\"n\":" + std::to_string(i) + ",\"text\":\"" +
           std::string(i % 50 == 0 ? 3'000 : 100, 'x') + "\"}";
  }

  LocalHarness bare_{LocalQueueOptions{.body_cache_bytes = 0}};
};

TEST_F(LocalQueueInputsTest, GivesEachClaimOfAReplyItsOwn) {
  constexpr int kTasks = 700;
  std::unordered_map<TaskId, int> numbers;
  for (int i = 0; i < kTasks; ++i) numbers[submit(bare_.queue(), input_of(i))->id] = i;

  std::size_t seen = 0;
  for (const std::uint32_t count : {1U, 2U, 3U, 256U, 1'000U}) {
    for (const Claim& one : claim(bare_.queue(), count)) {
      EXPECT_EQ(one.input, input_of(numbers.at(one.lease.task)));
      ++seen;
    }
  }

  EXPECT_EQ(seen, static_cast<std::size_t>(kTasks));
}

TEST_F(LocalQueueInputsTest, FailsTheAttemptsAloneWhoseInputCannotBeRead) {
  for (int i = 49; i < 53; ++i) ASSERT_TRUE(submit(bare_.queue(), input_of(i)));
  ASSERT_TRUE(list(bare_.queue()));  // now they are in the tables
  Connection store =
      Connection::open(bare_.folder() / "queue.sqlite", Connection::Mode::read_write).value();
  ASSERT_TRUE(store.execute("CREATE TABLE kept AS SELECT * FROM input; DELETE FROM input"));

  const std::vector<Claim> claims = claim(bare_.queue(), 256);

  ASSERT_EQ(claims.size(), 3U);
  EXPECT_EQ(claims[0].input, input_of(49));
  EXPECT_EQ(claims[1].input, input_of(51));
  EXPECT_EQ(claims[2].input, input_of(52));
  ASSERT_TRUE(store.execute("INSERT INTO input SELECT * FROM kept; DROP TABLE kept"));
  // The failure is stored after the claim is answered, and before the next command is carried out.
  ASSERT_TRUE(claim(bare_.queue(), 256).empty());
  bare_.advance(std::chrono::seconds{20});
  const std::vector<Claim> again = claim(bare_.queue(), 256);
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].input, input_of(50));
  EXPECT_EQ(again[0].attempt, 2U);
}

TEST_F(LocalQueueInputsTest, TellsOfTheTasksThatWaitBehindOneWhoseInputCannotBeRead) {
  ASSERT_TRUE(ask<bool>([&](auto reply) {
    bare_.queue().configure({.models = {{.id = "echo", .attempts_max = 1}}, .keys = {}},
                            std::move(reply));
  }));
  for (const int i : {50, 51, 50, 51, 51}) ASSERT_TRUE(submit(bare_.queue(), input_of(i)));
  ASSERT_TRUE(list(bare_.queue()));  // now they are in the tables
  ASSERT_TRUE(Connection::open(database_in(bare_.folder()), Connection::Mode::read_write)
                  ->execute("DELETE FROM input"));
  RecordingObserver observer;
  bare_.queue().observe(&observer);
  const auto claim_some = [&](std::uint32_t count) {
    const auto claims = ask<std::vector<Claim>>([&](auto reply) {
      bare_.queue().claim({.model = "echo", .count_max = count}, std::move(reply));
    });
    bare_.settle();
    return claims;
  };

  const Result<std::vector<Claim>> none = claim_some(1);
  ASSERT_FALSE(none) << "no claims would say that no others wait";
  EXPECT_EQ(none.error().code, ErrorCode::unavailable);
  const Result<std::vector<Claim>> all = claim_some(1);
  ASSERT_TRUE(all);
  EXPECT_EQ(all->size(), 1U);
  EXPECT_TRUE(observer.take_claimable().empty());
  const Result<std::vector<Claim>> some = claim_some(2);
  ASSERT_TRUE(some);
  EXPECT_EQ(some->size(), 1U);
  EXPECT_THAT(observer.take_claimable(), testing::Contains("echo")) << "another one waits";
  bare_.queue().observe(nullptr);
}

// ---- what is more than it keeps ------------------------------------------------------------------

TEST_F(LocalQueueTest, RefusesAnInputThatTheStoreMightNotTake) {
  const Result<Submitted> refused = submit(queue(), std::string(kInputBytesMax + 1, ' '));

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::too_large);
  EXPECT_EQ(queue().stats().queued, 0U);
}

TEST_F(LocalQueueTest, FailsATaskWhoseResultTheStoreMightNotTake) {
  const TaskId id = submit(queue())->id;
  Outcome outcome{.end = AttemptEnd::succeeded};
  outcome.outputs.push_back({.type = OutputType::text, .text = "done"});
  outcome.metadata_json = std::string(kOutputsBytesMax - 1, ' ');

  const Result<TaskState> ended = ask<TaskState>([&](auto reply) {
    queue().finish(claim(queue()).at(0).lease, std::move(outcome), std::move(reply));
  });

  EXPECT_EQ(ended, TaskState::failed);
  const Result<TaskView> view = find(queue(), id);
  EXPECT_EQ(view->error_type, ErrorType::inference_failure);
  EXPECT_EQ(view->error, "more than 256 MiB of outputs and metadata");
  EXPECT_TRUE(view->outputs.empty());
}

// ---- ended tasks ---------------------------------------------------------------------------------

TEST_F(LocalQueueTest, AnswersACancelOfAnEndedTaskWithoutALookAtItsResult) {
  const TaskId id = submit(queue())->id;
  ASSERT_TRUE(finish(queue(), claim(queue()).at(0).lease));
  ASSERT_TRUE(list(queue()));  // now it is in the tables
  ASSERT_TRUE(Connection::open(database_in(harness_.folder()), Connection::Mode::read_write)
                  ->execute("UPDATE ended SET outputs = 'x'"));
  const auto cancel = [&](const std::string& key) {
    return ask<CancelAnswer>(
        [&](auto reply) { queue().cancel({.id = id, .key = key}, std::move(reply)); });
  };

  EXPECT_EQ(cancel("ada"), CancelAnswer::already_completed);
  EXPECT_EQ(cancel("bob").error().code, ErrorCode::not_found);
}

TEST_F(LocalQueueTest, EndsEveryTaskOnceUnderManyThreads) {
  constexpr int kThreads = 6;
  constexpr int kTasksEach = 60;
  std::atomic<int> finished{0};
  std::atomic<int> refused{0};
  std::mutex mutex;
  std::vector<TaskId> ids;

  const auto submit_some = [&](int thread) {
    for (int i = 0; i < kTasksEach; ++i) {
      const Result<Submitted> made = submit(queue(), std::to_string(thread));
      ASSERT_TRUE(made);
      const Watch watch = queue().watch(made->id, WatchFor::everything, [] {});
      {
        const std::scoped_lock lock(mutex);
        ids.push_back(made->id);
      }
      if (i % 7 == 0) {
        ASSERT_TRUE(ask<CancelAnswer>(
            [&](auto reply) { queue().cancel({.id = made->id}, std::move(reply)); }));
      }
      ASSERT_TRUE(find(queue(), made->id));
    }
  };
  const auto run_some = [&] {
    while (finished + refused < kThreads * kTasksEach) {
      for (const Claim& claimed : claim(queue(), 4)) {
        Beat beat{.progress = 0.5};
        beat.logs.push_back({claimed.submitted, LogSeverity::info, false, "working"});
        static_cast<void>(ask<BeatAnswer>([&](auto reply) {
          queue().heartbeat(claimed.lease, std::move(beat), std::move(reply));
        }));
        ASSERT_TRUE(finish(queue(), claimed.lease));
        ++finished;
      }
      // Canceled before they ran: they never come to a runner.
      std::size_t canceled = 0;
      Result<TaskPage> page = list(queue(), {.states = {TaskState::canceled}, .count_max = 1'000});
      if (page) canceled = page->tasks.size();
      refused = static_cast<int>(canceled);
      static_cast<void>(queue().stats());
    }
  };
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) threads.emplace_back(submit_some, i);
    for (int i = 0; i < 3; ++i) threads.emplace_back(run_some);
  }

  EXPECT_EQ(queue().stats().queued + queue().stats().running, 0U);
  for (const TaskId& id : ids) {
    const Result<TaskView> view = find(queue(), id);
    ASSERT_TRUE(view);
    EXPECT_TRUE(is_terminal(view->state));
  }
}

// ---- growing and forgetting ----------------------------------------------------------------------

TEST_F(LocalQueueTest, ReusesTheSpaceOfForgottenTasks) {
  const auto run_some = [&] {
    for (int i = 0; i < 40; ++i) ASSERT_TRUE(submit(queue(), std::string(20'000, 'x')));
    for (const Claim& claimed : claim(queue(), 100)) ASSERT_TRUE(finish(queue(), claimed.lease));
  };
  const auto file_pages = [&] {
    harness_.reopen();  // closing folds the write-ahead log into the file
    configure(queue());
    return std::filesystem::file_size(harness_.folder() / "queue.sqlite");
  };
  run_some();
  const std::uintmax_t once = file_pages();

  for (int i = 0; i < 4; ++i) {
    harness_.advance(kContractRetention + std::chrono::minutes{5});
    run_some();
  }

  EXPECT_LT(file_pages(), once + once / 4);
}

TEST(LocalQueueLog, StaysShortUnderLoad) {
  LocalHarness harness(LocalQueueOptions{.checkpoint_pages = 50});
  QueuePolicy policy;
  policy.models.push_back({.id = "echo"});
  ASSERT_TRUE(ask<bool>([&](auto reply) { harness.queue().configure(policy, std::move(reply)); }));
  for (int i = 0; i < 1'000; ++i) {
    ASSERT_TRUE(ask<Submitted>([&](auto reply) {
      harness.queue().submit({.key = "ada", .model = "echo", .input = std::string(4'000, 'x')},
                             std::move(reply));
    }));
  }

  // Without checkpoints it would hold 1,000 times three pages and more.
  EXPECT_LT(std::filesystem::file_size(harness.folder() / "queue.sqlite-wal"), 6'000'000U);
}

TEST_F(LocalQueueTest, DoesNotForgetEverythingWhenTheWallClockJumpsForward) {
  const TaskId id = submit(queue())->id;
  ASSERT_TRUE(finish(queue(), claim(queue()).at(0).lease));

  harness_.clock().jump_wall(std::chrono::hours{24 * 365});
  harness_.advance(std::chrono::hours{1});

  EXPECT_TRUE(find(queue(), id));
  harness_.advance(kContractRetention);
  EXPECT_FALSE(find(queue(), id));
}

TEST_F(LocalQueueTest, MakesNoSecondTaskOfAnIdempotentCreateWhenTheWallClockJumpsForward) {
  Submission idempotent = submission();
  idempotent.idempotency = IdempotencyKey{.key = "ada", .name = "k1"};
  const auto create = [&] {
    return ask<Submitted>([&](auto reply) { queue().submit(idempotent, std::move(reply)); });
  };
  const TaskId first = create()->id;

  harness_.clock().jump_wall(std::chrono::hours{30});
  harness_.advance(std::chrono::hours{1});

  EXPECT_EQ(create()->id, first);
  harness_.advance(kIdempotencyTtl);
  EXPECT_NE(create()->id, first);
}

/// Time goes on with each look at it.
class TickingClock final : public Clock {
 public:
  [[nodiscard]] Now now() const override {
    clock_.advance(std::chrono::milliseconds{600});
    return clock_.now();
  }

 private:
  mutable ManualClock clock_;
};

TEST(LocalQueue, TellsEverySecondHowFarARecoveryHasCome) {
  constexpr int kTasks = 5'000;
  const TempFolder folder;
  SystemRandom random;
  {
    ManualClock clock;
    Metrics metrics;
    auto queue = *LocalQueue::open({.folder = folder.path()}, clock, random, metrics);
    queue->start();
    ASSERT_TRUE(ask<bool>([&](auto reply) {
      queue->configure({.models = {{.id = "echo"}}, .keys = {}}, std::move(reply));
    }));
    std::latch created(kTasks);
    for (int i = 0; i < kTasks; ++i) {
      queue->submit({.key = "ada", .model = "echo", .input = "{}"},
                    [&](Result<Submitted>) { created.count_down(); });
    }
    created.wait();
  }

  TickingClock clock;
  Metrics metrics;
  testing::internal::CaptureStderr();
  const auto queue = LocalQueue::open({.folder = folder.path()}, clock, random, metrics);
  const std::string log = testing::internal::GetCapturedStderr();

  ASSERT_TRUE(queue);
  const auto has = [&](const std::string& text) { return log.find(text) != std::string::npos; };
  EXPECT_TRUE(has(R"("msg":"recovering tasks","tasks":"2000")")) << log;
  EXPECT_FALSE(has(R"("msg":"recovering tasks","tasks":"3000")")) << log;
  EXPECT_TRUE(has(R"("msg":"recovering tasks","tasks":"4000")")) << log;
  EXPECT_TRUE(has(R"("msg":"recovered tasks","tasks":"5000")")) << log;
}

}  // namespace
}  // namespace quern
