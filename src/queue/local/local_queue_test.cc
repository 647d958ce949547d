#include "queue/local/local_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <latch>
#include <string>
#include <thread>
#include <unordered_map>

#include "base/delayed_wakes.h"
#include "queue/local/journal_fixture.h"
#include "queue/queue_contract.h"
#include "testing/eventually.h"
#include "testing/log_content.h"
#include "testing/manual_clock.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

class LocalHarness final : public QueueHarness {
 public:
  explicit LocalHarness(LocalQueueOptions options = {}) : options_(std::move(options)) { open(); }

  Queue& queue() override { return *queue_; }
  LocalQueue& local() { return *queue_; }
  void advance(std::chrono::microseconds time) override {
    clock_.advance(time);
    queue_->wake();
    settle();
  }
  void reopen() override {
    queue_.reset();
    open();
  }
  ManualClock& clock() { return clock_; }
  Metrics& metrics() { return metrics_; }
  const std::filesystem::path& folder() { return folder_.path(); }
  /// Every transaction does what is due; a few in a row let one thing lead to the next.
  void settle() {
    for (int i = 0; i < 3; ++i) {
      static_cast<void>(ask<std::vector<Claim>>(
          [&](auto reply) { queue_->claim({.model = "no-such"}, std::move(reply)); }));
    }
  }

 private:
  void open() {
    options_.folder = folder_.path();
    options_.retention = kContractRetention;
    Result<std::unique_ptr<LocalQueue>> opened =
        LocalQueue::open(options_, clock_, random_, metrics_);
    if (!opened) ADD_FAILURE() << opened.error().message;
    queue_ = *std::move(opened);
    queue_->start();
  }

  LocalQueueOptions options_;
  TempFolder folder_;
  ManualClock clock_;
  SystemRandom random_;
  Metrics metrics_;
  std::unique_ptr<LocalQueue> queue_;
};

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

/// A queue and the few verbs that these tests need.
class LocalQueueTest : public testing::Test {
 protected:
  LocalQueueTest() { configure(harness_.queue()); }

  static void configure(Queue& queue) {
    QueuePolicy policy;
    policy.models.push_back({.id = "echo"});
    ASSERT_TRUE(ask<bool>([&](auto reply) { queue.configure(policy, std::move(reply)); }));
  }
  static Submission submission(std::string input = "{}") {
    Submission submission;
    submission.key = "ada";
    submission.model = "echo";
    submission.input = std::move(input);
    return submission;
  }
  static Result<Submitted> submit(Queue& queue, std::string input = "{}") {
    return ask<Submitted>(
        [&](auto reply) { queue.submit(submission(std::move(input)), std::move(reply)); });
  }
  static Result<TaskView> find(Queue& queue, const TaskId& id) {
    return ask<TaskView>([&](auto reply) {
      queue.find({.ref = {.id = id}, .logs = true, .result = true}, std::move(reply));
    });
  }
  static std::vector<Claim> claim(Queue& queue, std::uint32_t count = 1) {
    return ask<std::vector<Claim>>([&](auto reply) {
             queue.claim({.model = "echo", .count_max = count}, std::move(reply));
           })
        .value_or(std::vector<Claim>{});
  }
  static Result<TaskState> finish(Queue& queue, const Lease& lease, std::string text = "done") {
    Outcome outcome{.end = AttemptEnd::succeeded};
    outcome.outputs.push_back({.type = OutputType::text, .text = std::move(text)});
    return ask<TaskState>(
        [&](auto reply) { queue.finish(lease, std::move(outcome), std::move(reply)); });
  }
  static Result<TaskPage> list(Queue& queue, TaskFilter filter = {}) {
    return ask<TaskPage>([&](auto reply) { queue.list(std::move(filter), std::move(reply)); });
  }
  Queue& queue() { return harness_.queue(); }
  /// What is committed from here on stays out of the tables.
  void hold_tables() {
    gate_.install(database_in(harness_.folder()));
    gate_.close();
  }

  TableGate gate_;  // outlives the queue
  LocalHarness harness_;
};

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
  bare_.advance(std::chrono::seconds{20});
  const std::vector<Claim> again = claim(bare_.queue(), 256);
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].input, input_of(50));
  EXPECT_EQ(again[0].attempt, 2U);
}

// ---- crashes -------------------------------------------------------------------------------------

TEST_F(LocalQueueTest, KeepsEveryAcknowledgedTaskAfterATornTail) {
  struct Acknowledged {
    TaskId id;
    std::uintmax_t log_bytes;  // of the redo log when the answer came
  };
  std::vector<Acknowledged> tasks;
  const std::filesystem::path log = harness_.folder() / "redo-a";
  hold_tables();
  for (int i = 0; i < 40; ++i) {
    const TaskId id = submit(queue(), R"({"n":)" + std::to_string(i) + "}")->id;
    tasks.push_back({id, redo_content_bytes(log)});
  }
  const TempFolder whole;
  copy_store(harness_.folder(), whole.path());
  gate_.open();
  const std::uintmax_t end = tasks.back().log_bytes;
  const std::uintmax_t begin = tasks.front().log_bytes;

  for (std::uintmax_t cut = begin; cut <= end; cut += (end - begin) / 23 + 7) {
    const TempFolder crashed;
    copy_store(whole.path(), crashed.path());
    std::filesystem::resize_file(crashed.path() / "redo-a", cut);
    SystemRandom random;
    Metrics metrics;
    Result<std::unique_ptr<LocalQueue>> opened =
        LocalQueue::open({.folder = crashed.path()}, harness_.clock(), random, metrics);
    ASSERT_TRUE(opened) << "cut at " << cut << ": " << opened.error().message;
    (*opened)->start();
    configure(**opened);

    std::size_t expected = 0;
    for (const Acknowledged& task : tasks) {
      if (task.log_bytes > cut) continue;
      ++expected;
      EXPECT_TRUE(find(**opened, task.id)) << "cut at " << cut;
    }
    const std::vector<Claim> claims = claim(**opened, 100);
    EXPECT_GE(claims.size(), expected);
    for (std::size_t i = 0; i < claims.size(); ++i) {
      EXPECT_EQ(claims[i].input, R"({"n":)" + std::to_string(i) + "}");
    }
  }
}

TEST_F(LocalQueueTest, IgnoresGarbageAfterTheLastTransaction) {
  hold_tables();
  const TaskId id = submit(queue())->id;
  const TempFolder crashed;
  copy_store(harness_.folder(), crashed.path());
  gate_.open();
  const std::filesystem::path path = crashed.path() / "redo-a";
  const std::uintmax_t end = redo_content_bytes(path);
  {
    std::fstream log(path, std::ios::binary | std::ios::in | std::ios::out);
    log.seekp(static_cast<std::streamoff>(end));
    log << std::string(10'000, '\x5a');
  }
  SystemRandom random;
  Metrics metrics;

  Result<std::unique_ptr<LocalQueue>> opened =
      LocalQueue::open({.folder = crashed.path()}, harness_.clock(), random, metrics);

  ASSERT_TRUE(opened);
  (*opened)->start();
  EXPECT_TRUE(find(**opened, id));
}

TEST_F(LocalQueueTest, NeverShowsAnEndThatACrashCouldTakeBack) {
  // Whoever sees a task ended finds it ended in a copy of the files made after the look.
  hold_tables();
  const TaskId id = submit(queue())->id;
  const Lease lease = claim(queue()).at(0).lease;
  std::jthread runner([&] { EXPECT_EQ(finish(queue(), lease), TaskState::succeeded); });
  const auto state = [&] {
    return ask<TaskView>([&](auto reply) { queue().find({.ref = {.id = id}}, std::move(reply)); })
        ->state;
  };
  while (state() != TaskState::succeeded) {
  }
  const TempFolder crashed;
  copy_store(harness_.folder(), crashed.path());
  gate_.open();
  SystemRandom random;
  Metrics metrics;

  Result<std::unique_ptr<LocalQueue>> opened =
      LocalQueue::open({.folder = crashed.path()}, harness_.clock(), random, metrics);

  ASSERT_TRUE(opened);
  (*opened)->start();
  EXPECT_EQ(find(**opened, id)->state, TaskState::succeeded);
}

// ---- many at once --------------------------------------------------------------------------------

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
