#include "task/retry_policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "testing/seeded_random.h"

namespace quern {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using enum AttemptFate;

constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

/// The first of three attempts, which failed in a way that may be repeated.
AttemptFacts facts(AttemptFate fate) {
  return {.fate = fate, .retryable = true, .attempts_started = 1, .attempts_max = 3};
}

TEST(JudgeAttempt, LetsASuccessWinOverACancel) {
  AttemptFacts f = facts(succeeded);
  f.cancel_requested = true;

  EXPECT_EQ(judge_attempt(f).state, TaskState::succeeded);
}

TEST(JudgeAttempt, RetriesAFailureALossAndACrashWhileAttemptsAreLeft) {
  for (const AttemptFate fate : {failed, lost, crashed}) {
    AttemptFacts f = facts(fate);
    for (f.attempts_started = 1; f.attempts_started < 3; ++f.attempts_started) {
      const Verdict verdict = judge_attempt(f);
      EXPECT_EQ(verdict.state, TaskState::queued);
      EXPECT_TRUE(verdict.spent);
      EXPECT_EQ(verdict.backoff, fate != crashed);
    }
    EXPECT_EQ(judge_attempt(f).state, TaskState::failed);
  }
}

TEST(JudgeAttempt, NamesTheLastFailureByItsCause) {
  AttemptFacts f = facts(lost);
  f.attempts_started = 3;
  EXPECT_EQ(judge_attempt(f).error_type, ErrorType::inference_failure);
  EXPECT_EQ(judge_attempt(f).error, "Task execution failed: its runner was lost");

  f.fate = crashed;
  EXPECT_EQ(judge_attempt(f).error_type, ErrorType::internal_server_error);
  EXPECT_EQ(judge_attempt(f).error, "Task execution failed");

  f.fate = failed;
  EXPECT_EQ(judge_attempt(f).error_type, ErrorType::inference_failure);
  EXPECT_EQ(judge_attempt(f).error, "");  // the runner's own text stands
  f.error_type = ErrorType::internal_server_error;
  EXPECT_EQ(judge_attempt(f).error_type, ErrorType::internal_server_error);
}

TEST(JudgeAttempt, NeverRetriesWhatWouldOnlyFailAgain) {
  for (const ErrorType type :
       {ErrorType::request_invalid, ErrorType::content_blocked, ErrorType::inference_timeout}) {
    AttemptFacts f = facts(failed);
    f.error_type = type;
    EXPECT_EQ(judge_attempt(f).state, TaskState::failed);
    EXPECT_EQ(judge_attempt(f).error_type, type);
  }
  AttemptFacts f = facts(failed);
  f.retryable = false;
  EXPECT_EQ(judge_attempt(f).state, TaskState::failed);
}

TEST(JudgeAttempt, CancelsInsteadOfRetrying) {
  for (const AttemptFate fate : {failed, lost, crashed, canceled, released}) {
    AttemptFacts f = facts(fate);
    f.cancel_requested = true;
    for (const std::uint32_t attempt : {1U, 3U}) {
      f.attempts_started = attempt;
      const Verdict verdict = judge_attempt(f);
      EXPECT_EQ(verdict.state, TaskState::canceled);
      EXPECT_EQ(verdict.error_type, ErrorType::canceled);
      EXPECT_EQ(verdict.error, "Task canceled");
    }
  }
}

TEST(JudgeAttempt, KeepsAFinalFailureThatACancelCameTooLateFor) {
  AttemptFacts f = facts(failed);
  f.cancel_requested = true;
  f.retryable = false;
  f.error_type = ErrorType::request_invalid;

  EXPECT_EQ(judge_attempt(f).state, TaskState::failed);
  EXPECT_EQ(judge_attempt(f).error_type, ErrorType::request_invalid);
}

TEST(JudgeAttempt, GivesAReleasedAttemptBackEvenWhereRetriesAreForbidden) {
  AttemptFacts f = facts(released);
  f.retry_allowed = false;
  f.attempts_started = 3;

  const Verdict verdict = judge_attempt(f);

  EXPECT_EQ(verdict.state, TaskState::queued);
  EXPECT_FALSE(verdict.spent);
  EXPECT_FALSE(verdict.backoff);
}

TEST(JudgeAttempt, EndsAtTheFirstFailureWhereRetriesAreForbidden) {
  for (const AttemptFate fate : {failed, lost, crashed}) {
    AttemptFacts f = facts(fate);
    f.retry_allowed = false;
    EXPECT_EQ(judge_attempt(f).state, TaskState::failed);
  }
}

TEST(JudgeAttempt, CountsNoAttemptsAtAllAsOne) {
  AttemptFacts f = facts(failed);
  f.attempts_max = 0;

  EXPECT_EQ(judge_attempt(f).state, TaskState::failed);
}

TEST(JudgeAttempt, TakesACanceledErrorTypeForACancel) {
  AttemptFacts f = facts(failed);
  f.error_type = ErrorType::canceled;

  EXPECT_EQ(judge_attempt(f).state, TaskState::canceled);
}

TEST(BackoffTime, DoublesUpToItsLimit) {
  const seconds caps[] = {seconds{1},  seconds{2},  seconds{4},  seconds{8},
                          seconds{16}, seconds{32}, seconds{60}, seconds{60}};
  std::uint32_t attempt = 0;
  for (const seconds cap : caps) {
    ++attempt;
    const microseconds longest = backoff_time(attempt, seconds{1}, seconds{60}, kMost);
    EXPECT_LT(longest, cap);
    EXPECT_GE(longest, cap - milliseconds{1});
    EXPECT_EQ(backoff_time(attempt, seconds{1}, seconds{60}, 0), microseconds{0});
  }
  EXPECT_LE(backoff_time(4'000'000'000, seconds{1}, seconds{60}, kMost), seconds{60});
}

TEST(BackoffTime, SpreadsEvenly) {
  SeededRandom random(9);
  double sum = 0;
  int early = 0;
  constexpr int kDraws = 20'000;
  for (int i = 0; i < kDraws; ++i) {
    const microseconds wait = backoff_time(3, seconds{1}, seconds{60}, random.next_u64());
    sum += static_cast<double>(wait.count()) / 1e6;
    early += wait < seconds{1} ? 1 : 0;
  }

  EXPECT_NEAR(sum / kDraws, 2.0, 0.05);
  EXPECT_NEAR(early, kDraws / 4, kDraws / 50);
}

TEST(BackoffTime, SurvivesOddLimits) {
  EXPECT_EQ(backoff_time(5, milliseconds{0}, seconds{60}, kMost), microseconds{0});
  EXPECT_EQ(backoff_time(5, seconds{-1}, seconds{-1}, kMost), microseconds{0});
  EXPECT_LE(backoff_time(5, seconds{100}, seconds{10}, kMost), seconds{10});
  EXPECT_LE(backoff_time(100, milliseconds{1}, milliseconds::max() / 2000, kMost),
            milliseconds::max() / 2000);
}

}  // namespace
}  // namespace quern
