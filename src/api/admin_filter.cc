#include "api/admin_filter.h"

#include <array>

#include "api/query_params.h"

namespace quern::api {
namespace {

constexpr std::array kStates = {TaskState::queued, TaskState::running, TaskState::succeeded,
                                TaskState::failed, TaskState::canceled};

std::optional<TaskState> parse_state(std::string_view name) {
  for (const TaskState state : kStates) {
    if (state_name(state) == name) return state;
  }
  return std::nullopt;
}

Result<std::vector<TaskState>> parse_states(std::string_view names) {
  std::vector<TaskState> states;
  while (!names.empty()) {
    const std::string_view name = names.substr(0, names.find(','));
    names.remove_prefix(std::min(name.size() + 1, names.size()));
    const auto state = parse_state(name);
    if (!state)
      return fail(ErrorCode::invalid_argument,
                  "state: expected queued, running, succeeded, failed or canceled");
    states.push_back(*state);
  }
  return states;
}

}  // namespace

std::string_view state_name(TaskState state) {
  switch (state) {
    case TaskState::queued:
      return "queued";
    case TaskState::running:
      return "running";
    case TaskState::succeeded:
      return "succeeded";
    case TaskState::failed:
      return "failed";
    case TaskState::canceled:
      return "canceled";
  }
  return "";
}

Result<TaskFilter> read_task_filter(const ParamReader& param) {
  TaskFilter filter;
  filter.key = param("key").value_or("");
  filter.model = param("model").value_or("");
  auto states = parse_states(param("state").value_or(""));
  if (!states) return fail(std::move(states));
  filter.states = std::move(*states);
  if (const auto text = param("age_min")) {
    filter.age_min = parse_seconds(*text);
    if (!filter.age_min) return fail(ErrorCode::invalid_argument, "age_min: expected seconds");
  }
  if (const auto text = param("before")) {
    filter.before = TaskId::parse(*text);
    if (!filter.before) return fail(ErrorCode::invalid_argument, "before: expected a request id");
  }
  if (const auto text = param("limit")) {
    const auto limit = parse_count(*text);
    if (!limit || *limit == 0 || *limit > kAdminPageMax)
      return fail(ErrorCode::invalid_argument, "limit: expected an integer from 1 to 1000");
    filter.count_max = static_cast<std::uint32_t>(*limit);
  }
  return filter;
}

}  // namespace quern::api
