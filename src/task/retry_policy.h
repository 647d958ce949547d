#pragma once
// What becomes of a task when an attempt ends. Pure: for the core and for SQL alike.

#include <chrono>
#include <cstdint>
#include <string_view>

#include "task/task.h"

namespace quern {

/// How an attempt ended: what its executor can say, and what only the queue can know.
enum class AttemptFate : std::uint8_t {
  succeeded,
  failed,
  canceled,
  released,
  lost,     // its lease ran out
  crashed,  // the server went down with it
};

[[nodiscard]] AttemptFate fate_of(AttemptEnd end);
/// As attempts are stored: "succeeded", "failed", …
[[nodiscard]] std::string_view to_string(AttemptFate fate);

struct AttemptFacts {
  AttemptFate fate = AttemptFate::failed;
  ErrorType error_type = ErrorType::none;  // failed only
  bool retryable = false;                  // failed only: the class of the failure allows a retry
  bool cancel_requested = false;
  bool retry_allowed = true;           // by the task and by its model
  std::uint32_t attempts_started = 1;  // with this one
  std::uint32_t attempts_max = 1;      // 0 counts as 1
};

struct Verdict {
  TaskState state = TaskState::failed;
  ErrorType error_type = ErrorType::none;
  bool spent = true;       // false: queued, and the attempt is given back
  bool backoff = false;    // queued, but not before backoff_time() is over
  std::string_view error;  // static; empty: the runner's own text, or none
};

/// A success stands whatever else was asked for. A cancel wins over every retry. A released attempt
/// is queued again even where retries are forbidden: it was not the task's fault.
[[nodiscard]] Verdict judge_attempt(const AttemptFacts& facts);

/// Full jitter: evenly between 0 and `min` doubled for each attempt after the first, at most `max`.
/// `chance`: 64 fresh random bits.
[[nodiscard]] std::chrono::microseconds backoff_time(std::uint32_t attempts_started,
                                                     std::chrono::milliseconds min,
                                                     std::chrono::milliseconds max,
                                                     std::uint64_t chance);

}  // namespace quern
