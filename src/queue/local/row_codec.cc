#include "queue/local/row_codec.h"

#include "queue/local/output_json.h"

namespace quern {
namespace {

void apply_flags(TaskRow& row, std::int64_t flags) {
  row.priority = (flags & task_flag::kLowPriority) != 0 ? Priority::low : Priority::normal;
  row.no_retry = (flags & task_flag::kNoRetry) != 0;
  row.cancel_requested = (flags & task_flag::kCancelRequested) != 0;
  row.start_timed_out = (flags & task_flag::kStartTimedOut) != 0;
}

/// The columns that both tables begin with: seq, chance, key, model, state, flags, attempts.
TaskRow read_common(const Statement& statement) {
  TaskRow row;
  row.id = make_task_id(statement.integer(0), statement.integer(1));
  row.key = static_cast<KeyIndex>(statement.integer(2));
  row.model = static_cast<ModelIndex>(statement.integer(3));
  row.state = static_cast<TaskState>(statement.integer(4));
  apply_flags(row, statement.integer(5));
  row.attempts_started = static_cast<std::uint32_t>(statement.integer(6));
  return row;
}

/// Of the last four of QUERN_ENDED_COLUMNS.
StoredAttempt read_last_attempt(const Statement& statement, const TaskRow& row) {
  StoredAttempt last;
  last.attempt.number = static_cast<std::uint32_t>(statement.integer(14));
  last.attempt.started = wall_time(statement.integer(15));
  last.attempt.ended = row.ended;
  last.attempt.result = statement.text(16);
  last.attempt.reason = statement.text(17);
  return last;
}

}  // namespace

void bind_time(Statement& statement, int parameter, std::optional<WallTime> time) {
  if (time) {
    statement.bind(parameter, stored_time(*time));
  } else {
    statement.bind_null(parameter);
  }
}

std::optional<WallTime> time_of(const Statement& statement, int column) {
  if (statement.is_null(column)) return std::nullopt;
  return wall_time(statement.integer(column));
}

std::int64_t flags_of(const TaskRow& row) {
  return (row.priority == Priority::low ? task_flag::kLowPriority : 0) |
         (row.no_retry ? task_flag::kNoRetry : 0) |
         (row.cancel_requested ? task_flag::kCancelRequested : 0) |
         (row.start_timed_out ? task_flag::kStartTimedOut : 0);
}

TaskRow read_live(const Statement& statement) {
  TaskRow row = read_common(statement);
  row.rank = statement.real(7);
  row.lease_token = static_cast<std::uint64_t>(statement.integer(8));
  row.submitted = wall_time(statement.integer(9));
  row.start_deadline = time_of(statement, 10);
  row.not_before = time_of(statement, 11);
  return row;
}

EndedTask read_ended_head(const Statement& statement) {
  EndedTask task;
  task.row = read_common(statement);
  task.row.submitted = wall_time(statement.integer(7));
  task.row.ended = wall_time(statement.integer(8));
  task.result.run_time = std::chrono::microseconds{statement.integer(9)};
  task.row.error_type = static_cast<ErrorType>(statement.integer(10));
  task.result.error = statement.text(11);
  return task;
}

Result<EndedTask> read_ended(const Statement& statement) {
  EndedTask task = read_ended_head(statement);
  task.result.metadata_json = statement.text(12);
  Result<std::vector<Output>> outputs = decode_outputs(statement.text(13));
  if (!outputs) return fail(std::move(outputs));
  task.result.outputs = *std::move(outputs);
  if (!statement.is_null(14)) task.last_attempt = read_last_attempt(statement, task.row);
  return task;
}

NumberedLog read_log(const Statement& statement) {
  NumberedLog log;
  log.number = static_cast<std::uint64_t>(statement.integer(0));
  log.entry.time = wall_time(statement.integer(1));
  log.entry.severity = static_cast<LogSeverity>(statement.integer(2));
  log.entry.from_quern = statement.integer(3) != 0;
  log.entry.message = statement.text(4);
  return log;
}

}  // namespace quern
