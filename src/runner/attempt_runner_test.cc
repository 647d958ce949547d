#include "runner/attempt_runner.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include "runner/echo_executor.h"
#include "testing/seeded_random.h"
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

  EXPECT_FALSE(ran.not_started);
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

}  // namespace
}  // namespace quern
