#pragma once
// Tasks as the wire shows them, written straight into a string.

#include <string>
#include <string_view>

#include "api/call.h"
#include "queue/queue.h"

namespace quern::api {

/// Where the URLs of one task begin.
struct TaskPlace {
  Dialect dialect = Dialect::queue;
  std::string endpoint;        // "https://host/v1/queue/echo": of tasks
  std::size_t base_bytes = 0;  // of `endpoint`, what base() is

  /// "https://host": of files.
  [[nodiscard]] std::string_view base() const {
    return std::string_view(endpoint).substr(0, base_bytes);
  }
};

/// For the mount and the endpoint that the caller used.
TaskPlace place_of(const Call& call);

/// The answer to a create.
std::string created_json(const TaskPlace& place, const Submitted& submitted);

/// The status object. `logs`: an array of view.logs, else null. `with_detail`: the result's error
/// body.
std::string status_json(const TaskPlace& place, const TaskView& view, bool logs,
                        bool with_detail = false);

/// The result of a succeeded task.
std::string result_json(const TaskPlace& place, const TaskView& view);

std::string_view wire_status(TaskState state);
/// As the dialect names it.
std::string_view wire_error_type(Dialect dialect, ErrorType type);
/// The runner's own words, else the type's.
std::string_view error_text(const TaskView& view);
/// The code of a result that is an error.
unsigned failure_status(ErrorType type);

void append_output(std::string& out, std::string_view base, const Output& output);
void append_logs(std::string& out, const std::vector<LogEntry>& logs, std::size_t from = 0);
/// Seconds with up to six decimals, always with a point.
void append_seconds(std::string& out, std::chrono::microseconds time);

}  // namespace quern::api
