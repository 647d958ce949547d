#pragma once
// The one table of legal moves between a task's states, and the texts of ends that no runner
// worded.

#include <string_view>

#include "task/task.h"

namespace quern {

/// queued → running, failed (start timeout, model gone), canceled; running → queued (retry,
/// released), succeeded, failed, canceled; failed and canceled → queued (an administrator's retry).
/// Anything else is a bug.
[[nodiscard]] bool is_legal_move(TaskState from, TaskState to);

inline constexpr std::string_view kTextCanceled = "Task canceled";
inline constexpr std::string_view kTextFailed = "Task execution failed";
inline constexpr std::string_view kTextTimedOut = "Task execution timed out";
inline constexpr std::string_view kTextNotStarted = "Task was not started in time";
inline constexpr std::string_view kTextUnserved = "Model is no longer served";
inline constexpr std::string_view kTextRunnerLost = "Task execution failed: its runner was lost";

/// What the caller reads when the runner gave no text of its own; empty for `none`.
[[nodiscard]] std::string_view default_error_text(ErrorType type);

}  // namespace quern
