#pragma once
// What an administrator sees of a task, for checks of what happened to it.

#include <algorithm>
#include <string>
#include <vector>

#include "base/json.h"
#include "quern/client.h"

namespace quern {

struct AttemptSeen {
  std::string result;
  std::string reason;
  bool has_ended = false;
};

struct TaskSeen {
  std::string state;
  std::string error_type;
  std::vector<AttemptSeen> attempts;
  std::size_t outputs = 0;

  [[nodiscard]] std::ptrdiff_t count(std::string_view result) const {
    return std::ranges::count(attempts, result, &AttemptSeen::result);
  }
};

namespace task_history {

inline std::string text_at(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

inline AttemptSeen read_attempt(const json::object& entry) {
  return {text_at(entry, "result"), text_at(entry, "reason"), entry.contains("ended")};
}

}  // namespace task_history

/// With an administrator's key; a state of "" means that there is no such task.
inline TaskSeen look_up(Client& admin, const std::string& request_id) {
  const auto answer = admin.call("GET", "/admin/tasks/" + request_id);
  if (!answer) return {};
  const json::object task = parse_json(*answer)->get_object();
  TaskSeen facts{.state = task_history::text_at(task, "state"),
                 .error_type = task_history::text_at(task, "error_type"),
                 .attempts = {},
                 .outputs = task.at("outputs").get_array().size()};
  for (const json::value& entry : task.at("attempts").get_array())
    facts.attempts.push_back(task_history::read_attempt(entry.get_object()));
  return facts;
}

}  // namespace quern
