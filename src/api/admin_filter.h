#pragma once
// Which tasks an administrator means, read from a query or a JSON object with the same names:
// key, model, state (names separated by commas), age_min (seconds), before (a task id), limit.

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "queue/queue.h"

namespace quern::api {

inline constexpr std::uint32_t kAdminPageMax = 1'000;

using ParamReader = std::function<std::optional<std::string>(std::string_view name)>;

/// Errors: invalid_argument; the message is "<name>: <what was expected>".
Result<TaskFilter> read_task_filter(const ParamReader& param);

/// "queued", "running", "succeeded", "failed", "canceled".
std::string_view state_name(TaskState state);

}  // namespace quern::api
