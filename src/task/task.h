#pragma once
// The words of the trade as plain values: what a task is, what an attempt came to, what it made.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "task/task_id.h"

namespace quern {

enum class TaskState : std::uint8_t { queued, running, succeeded, failed, canceled };
constexpr bool is_terminal(TaskState state) { return state >= TaskState::succeeded; }

/// Normal comes before low, but for the guaranteed share of low (task/fair_rank.h).
enum class Priority : std::uint8_t { normal, low };

/// The wire's error types (docs/API.md, "Status").
enum class ErrorType : std::uint8_t {
  none,
  request_invalid,
  content_blocked,
  inference_failure,
  inference_timeout,
  canceled,
  internal_server_error,
};

enum class OutputType : std::uint8_t { image, video, audio, model3d, text, file };

/// One result record. Zero, empty and nullopt mean "unknown" and are left out on the wire.
struct Output {
  OutputType type = OutputType::file;
  std::string file_key;   // 32 hex characters: the folder in the artifact store; empty: no file
  std::string file_name;  // its last path segment, not percent-encoded
  std::string content_type;
  std::uint64_t file_bytes = 0;
  std::uint32_t width = 0;   // pixels
  std::uint32_t height = 0;  // pixels
  double duration = 0;       // seconds
  std::optional<std::string> text;
  std::string metadata_json;  // an object, or empty
};

enum class LogSeverity : std::uint8_t { stderr_, stdout_, error, info, warn, debug };

struct LogEntry {
  WallTime time;
  LogSeverity severity = LogSeverity::info;
  bool from_quern = false;  // else from the runner
  std::string message;
  std::optional<std::uint64_t>
      number{};  // in a task's logs: of what its runners said, from 0; the queue's own have none
};

/// How an attempt ended, as its executor tells it.
enum class AttemptEnd : std::uint8_t {
  succeeded,
  failed,     // error_type, error, and retryable say the rest
  canceled,   // stopped because the task's cancel was asked for
  released,   // handed back at a graceful stop: does not spend the attempt
  unstarted,  // handed back before anything ran: nor does it count as a start
};

struct Outcome {
  AttemptEnd end = AttemptEnd::failed;
  std::vector<Output> outputs;  // succeeded only; files are synced to the artifact store
  std::string metadata_json;    // succeeded only; an object, or empty
  ErrorType error_type = ErrorType::none;
  std::string error;       // the text for the caller; empty: the type's own default
  bool retryable = false;  // the class of the failure allows another attempt
  std::string reason;      // for the attempt's record: "exit 1", "signal 9 (Killed)"
  std::chrono::microseconds run_time{0};
};

/// One run of a task, as it is kept.
struct Attempt {
  std::uint32_t number = 0;  // 1 for the first
  WallTime started;
  std::optional<WallTime> ended;
  std::string result;  // "succeeded", "failed", "canceled", "released", "lost", "crashed"; empty
                       // while running
  std::string reason;
};

/// The right to report for one attempt. A lease that is no longer the task's current one is stale.
struct Lease {
  TaskId task;
  std::uint64_t token = 0;  // unique per attempt, never used again

  friend bool operator==(const Lease&, const Lease&) = default;
};

}  // namespace quern
