#include "runner/attempt_runner.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include "runner/echo_executor.h"
#include "testing/manual_clock.h"
#include "testing/seeded_random.h"
#include "testing/small_disk.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

class ExecutorWithoutMemory final : public Executor {
 public:
  Ending run(const Run&, ProgressSink&, std::stop_token) override { return {}; }
  [[nodiscard]] bool uses_files() const override { throw std::bad_alloc(); }
};

class ExecutorWithAPath final : public Executor {
 public:
  Ending run(const Run&, ProgressSink&, std::stop_token) override { return {}; }
  [[nodiscard]] bool uses_files() const override {
    throw std::filesystem::filesystem_error("open", "/srv/secret", std::error_code());
  }
};

class ClockWithoutMemory final : public Clock {
 public:
  [[nodiscard]] Now now() const override { throw std::bad_alloc(); }
};

class AttemptRunnerTest : public ::testing::Test {
 protected:
  TempFolder folder_;
  SeededRandom random_{1};
  ClockWithoutMemory clock_;
  std::unique_ptr<ArtifactStore> store_ = std::move(*ArtifactStore::open(folder_.path(), random_));
  AttemptRunner runner_{*store_, clock_, {}};
  std::shared_ptr<const Model> model_ = std::make_shared<const Model>();
};

TEST_F(AttemptRunnerTest, EndsAnAttemptThatHasNoMemoryBeforeItsExecutorRuns) {
  ExecutorWithoutMemory executor;
  RunningAttempt attempt({}, model_, {});

  const AttemptRunner::Ran ran = runner_.run(attempt, executor);

  EXPECT_FALSE(ran.is_machine_short);
  EXPECT_EQ(ran.outcome.end, AttemptEnd::failed);
  EXPECT_EQ(ran.outcome.error_type, ErrorType::internal_server_error);
  EXPECT_TRUE(ran.outcome.retryable);
  EXPECT_EQ(ran.outcome.error, "");
}

TEST_F(AttemptRunnerTest, TellsNobodyWhatALibrarySaysOfThisMachine) {
  ExecutorWithAPath executor;
  RunningAttempt attempt({}, model_, {});

  const Outcome outcome = runner_.run(attempt, executor).outcome;

  EXPECT_FALSE(outcome.reason.empty());
  EXPECT_EQ(outcome.reason.find("secret"), std::string::npos) << outcome.reason;
}

TEST_F(AttemptRunnerTest, EndsAnInstantAttemptThatHasNoMemoryBeforeItsExecutorRuns) {
  EchoExecutor executor;

  const Outcome outcome = runner_.run_instantly({.input = "{}"}, *model_, executor);

  EXPECT_EQ(outcome.end, AttemptEnd::failed);
  EXPECT_EQ(outcome.error_type, ErrorType::internal_server_error);
  EXPECT_TRUE(outcome.retryable);
}

class FilesExecutor final : public Executor {
 public:
  Ending run(const Run&, ProgressSink&, std::stop_token) override {
    ADD_FAILURE() << "there is nothing to run";
    return {};
  }
  [[nodiscard]] bool uses_files() const override { return true; }
};

TEST_F(AttemptRunnerTest, HandsBackAsUnstartedWhatAShutdownStopsBeforeItsExecutorRuns) {
  ManualClock clock;
  FilesExecutor executor;
  RunningAttempt attempt({.input = "{}"}, model_, {});
  attempt.stop(StopReason::shutdown);

  const Outcome outcome = AttemptRunner(*store_, clock, {}).run(attempt, executor).outcome;

  EXPECT_EQ(outcome.end, AttemptEnd::unstarted);
}

/// A file system of 64 MiB, of which `bytes_taken` are somebody else's, and an attempt that has a file
/// of 3 MiB for its input.
void run_on_small_disk(std::size_t bytes_taken, void (*check)(const AttemptRunner::Ran&)) {
  const TempFolder temp;
  const int status = with_small_disk(temp.path(), "size=64m", [&] {
    SeededRandom random{1};
    ManualClock clock;
    const auto store = std::move(*ArtifactStore::open(temp.path() / "data", random));
    std::ofstream(temp.path() / "filler") << std::string(bytes_taken, 'x');
    FilesExecutor executor;
    const Claim claim{.input = R"({"file":"data:application/octet-stream;base64,)" +
                               std::string(4U << 20U, 'A') + "\"}"};
    RunningAttempt attempt(claim, std::make_shared<const Model>(), {});

    check(AttemptRunner(*store, clock, {}).run(attempt, executor));
  });
  if (status == kNoSmallDisk) GTEST_SKIP() << "no right to mount a file system here";
  EXPECT_EQ(status, 0);
}

TEST(AttemptRunnerFullDisk, SpendsNoAttemptWhereThereIsNoRoomForAnybodysInput) {
  run_on_small_disk((64U << 20U) - (1U << 19U), [](const AttemptRunner::Ran& ran) {
    EXPECT_TRUE(ran.is_machine_short);
    EXPECT_EQ(ran.outcome.end, AttemptEnd::unstarted);
    EXPECT_EQ(ran.outcome.reason, "input: file: writing a file: the disk is full");
  });
}

TEST(AttemptRunnerFullDisk, FailsAnInputThatHasNoRoomWhereOthersHave) {
  run_on_small_disk((64U << 20U) - (2U << 20U), [](const AttemptRunner::Ran& ran) {
    EXPECT_FALSE(ran.is_machine_short);
    EXPECT_EQ(ran.outcome.end, AttemptEnd::failed);
    EXPECT_EQ(ran.outcome.error, "file: writing a file: the disk is full");
    EXPECT_TRUE(ran.outcome.retryable);
  });
}

}  // namespace
}  // namespace quern
