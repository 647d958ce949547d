#include "task/retry_policy.h"

#include <algorithm>

#include "task/task_state.h"

namespace quern {
namespace {

bool may_repeat(ErrorType type) {
  return type == ErrorType::none || type == ErrorType::inference_failure ||
         type == ErrorType::internal_server_error;
}

bool is_retryable(const AttemptFacts& facts) {
  if (facts.fate == AttemptFate::failed) return facts.retryable && may_repeat(facts.error_type);
  return facts.fate == AttemptFate::lost || facts.fate == AttemptFate::crashed;
}

Verdict canceled() {
  return {.state = TaskState::canceled, .error_type = ErrorType::canceled, .error = kTextCanceled};
}

Verdict failed(const AttemptFacts& facts) {
  Verdict verdict;
  switch (facts.fate) {
    case AttemptFate::lost:
      verdict.error_type = ErrorType::inference_failure;
      verdict.error = kTextRunnerLost;
      break;
    case AttemptFate::crashed:
      verdict.error_type = ErrorType::internal_server_error;
      verdict.error = kTextFailed;
      break;
    default:
      verdict.error_type =
          facts.error_type == ErrorType::none ? ErrorType::inference_failure : facts.error_type;
  }
  return verdict;
}

Verdict judge_failure(const AttemptFacts& facts) {
  if (facts.error_type == ErrorType::canceled) return canceled();
  if (!is_retryable(facts)) return failed(facts);
  if (facts.cancel_requested) return canceled();
  const std::uint32_t attempts_max =
      facts.retry_allowed ? std::max<std::uint32_t>(facts.attempts_max, 1) : 1;
  if (facts.attempts_started >= attempts_max) return failed(facts);
  // A crash delayed everything already, and all that it hit would wait alike.
  return {.state = TaskState::queued, .backoff = facts.fate != AttemptFate::crashed};
}

}  // namespace

AttemptFate fate_of(AttemptEnd end) {
  switch (end) {
    case AttemptEnd::succeeded:
      return AttemptFate::succeeded;
    case AttemptEnd::failed:
      return AttemptFate::failed;
    case AttemptEnd::canceled:
      return AttemptFate::canceled;
    case AttemptEnd::released:
    case AttemptEnd::unstarted:
      return AttemptFate::released;
  }
  return AttemptFate::failed;
}

std::string_view to_string(AttemptFate fate) {
  switch (fate) {
    case AttemptFate::succeeded:
      return "succeeded";
    case AttemptFate::failed:
      return "failed";
    case AttemptFate::canceled:
      return "canceled";
    case AttemptFate::released:
      return "released";
    case AttemptFate::lost:
      return "lost";
    case AttemptFate::crashed:
      return "crashed";
  }
  return "failed";
}

Verdict judge_attempt(const AttemptFacts& facts) {
  switch (facts.fate) {
    case AttemptFate::succeeded:
      return {.state = TaskState::succeeded};
    case AttemptFate::canceled:
      return canceled();
    case AttemptFate::released:
      if (facts.cancel_requested) return canceled();
      return {.state = TaskState::queued, .spent = false};
    case AttemptFate::failed:
    case AttemptFate::lost:
    case AttemptFate::crashed:
      return judge_failure(facts);
  }
  return judge_failure(facts);
}

std::chrono::microseconds backoff_time(std::uint32_t attempts_started,
                                       std::chrono::milliseconds min, std::chrono::milliseconds max,
                                       std::uint64_t chance) {
  std::chrono::milliseconds cap = std::clamp(min, std::chrono::milliseconds{0}, std::max(max, {}));
  for (std::uint32_t i = 1; i < attempts_started && cap < max && cap.count() > 0; ++i) {
    cap = cap > max / 2 ? max : cap * 2;
  }
  const double share = static_cast<double>(chance >> 11U) * 0x1p-53;  // 0 ≤ share < 1
  const auto cap_us = static_cast<double>(std::chrono::microseconds{cap}.count());
  return std::chrono::microseconds{static_cast<std::int64_t>(share * cap_us)};
}

}  // namespace quern
