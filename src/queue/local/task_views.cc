#include "queue/local/task_views.h"

#include <algorithm>
#include <string>
#include <utility>

#include "queue/dropped_note.h"

namespace quern {
namespace {

/// Whether `running` is not yet among the stored attempts: it may end between the two looks.
bool is_unstored(const TaskHistory& history, const std::optional<RunningTasks::Snapshot>& running) {
  if (!running) return false;
  // Not by which is later, since clocks are set back, nor by the number alone, which the attempt after a
  // released one has again.
  return std::ranges::none_of(history.attempts, [&](const StoredAttempt& stored) {
    return stored.attempt.started == running->started && stored.attempt.number == running->attempt;
  });
}

LogEntry own_line(WallTime time, LogSeverity severity, std::string message) {
  return {time, severity, true, std::move(message)};
}

LogEntry start_line(std::uint32_t number, WallTime started) {
  return own_line(started, LogSeverity::info, "attempt " + std::to_string(number) + " started");
}

LogEntry end_line(const StoredAttempt& stored) {
  const Attempt& attempt = stored.attempt;
  std::string text = "attempt " + std::to_string(attempt.number) + " " + attempt.result;
  if (!attempt.reason.empty() && attempt.reason != attempt.result) text += ": " + attempt.reason;
  if (stored.retried) text += "; queued again";
  if (stored.retry_at) text += ", not before " + format_rfc3339(*stored.retry_at);
  const bool is_fine = attempt.result == "succeeded" || attempt.result == "released";
  return own_line(attempt.ended.value_or(attempt.started),
                  is_fine ? LogSeverity::info : LogSeverity::warn, std::move(text));
}

/// Takes lines from a task's log in order, up to a point in time.
class LineMerge {
 public:
  explicit LineMerge(const std::vector<NumberedLog>& lines) : lines_(lines) {
    if (!lines.empty() && lines.front().number > 0) {
      out_.push_back(dropped_note(lines.front().number, lines.front().entry.time));
    }
  }
  void add_before(WallTime time) {
    while (next_ < lines_.size() && lines_[next_].entry.time < time) add_next();
  }
  void add_until(WallTime time) {
    while (next_ < lines_.size() && lines_[next_].entry.time <= time) add_next();
  }
  void add(LogEntry entry) { out_.push_back(std::move(entry)); }
  std::vector<LogEntry> finish() && {
    while (next_ < lines_.size()) add_next();
    return std::move(out_);
  }

 private:
  void add_next() {
    const NumberedLog& line = lines_[next_++];
    out_.push_back(line.entry);
    out_.back().number = line.number;
  }

  const std::vector<NumberedLog>& lines_;
  std::size_t next_ = 0;
  std::vector<LogEntry> out_;
};

}  // namespace

TaskView view_of(const TaskRow& row, const QueueState& state) {
  TaskView view;
  view.id = row.id;
  view.key = state.keys.name(row.key);
  view.model = state.models.name(row.model);
  view.state = row.state;
  view.priority = row.priority;
  view.cancel_requested = row.cancel_requested;
  view.attempts_started = row.attempts_started;
  view.submitted = row.submitted;
  view.ended = row.ended;
  view.error_type = row.error_type;
  view.start_timed_out = row.start_timed_out;
  return view;
}

TaskView view_of(const LiveTask& live, const QueueState& state) {
  TaskView view = view_of(live.row, state);
  view.position = live.position;
  view.eta = live.eta;
  view.progress = live.progress;
  return view;
}

EndedView view_of(const TaskRow& row, StoredResult result, const QueueState& state) {
  EndedView view;
  view.head = view_of(row, state);
  view.head.run_time = result.run_time;
  view.head.error = std::move(result.error);
  view.outputs = std::move(result.outputs);
  view.metadata_json = std::move(result.metadata_json);
  return view;
}

std::vector<Attempt> attempts_of(const TaskHistory& history,
                                 const std::optional<RunningTasks::Snapshot>& running) {
  std::vector<Attempt> attempts;
  attempts.reserve(history.attempts.size() + 1);
  for (const StoredAttempt& stored : history.attempts) attempts.push_back(stored.attempt);
  if (is_unstored(history, running)) {
    attempts.push_back({running->attempt, running->started, std::nullopt, {}, {}});
  }
  return attempts;
}

MergedLogs logs_of(const TaskHistory& history,
                   const std::optional<RunningTasks::Snapshot>& running) {
  const bool runs = is_unstored(history, running);
  const std::vector<NumberedLog>& lines = runs && running->logs ? *running->logs : history.logs;
  LineMerge merge(lines);
  for (const StoredAttempt& stored : history.attempts) {
    merge.add_before(stored.attempt.started);
    merge.add(start_line(stored.attempt.number, stored.attempt.started));
    merge.add_until(stored.attempt.ended.value_or(stored.attempt.started));
    merge.add(end_line(stored));
  }
  if (runs) {
    merge.add_before(running->started);
    merge.add(start_line(running->attempt, running->started));
  }
  return {std::move(merge).finish(), lines.empty() ? 0 : lines.front().number};
}

}  // namespace quern
