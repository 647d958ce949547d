#pragma once
// Tasks as callers see them, from what the core and the store know.

#include <optional>
#include <vector>

#include "queue/core.h"
#include "queue/local/journal_reader.h"
#include "queue/local/journal_rows.h"
#include "queue/local/queue_state.h"
#include "queue/local/result_cache.h"
#include "queue/local/running_tasks.h"

namespace quern {

/// Needs state.mutex, for the names.
TaskView view_of(const LiveTask& live, const QueueState& state);
/// The same, without what only the core knows.
TaskView view_of(const TaskRow& row, const QueueState& state);
/// The same. Without history.
EndedView view_of(const TaskRow& row, StoredResult result, const QueueState& state);

/// Attempts with the one that runs, if one does.
std::vector<Attempt> attempts_of(const TaskHistory& history,
                                 const std::optional<RunningTasks::Snapshot>& running);
/// The runner's lines in their order, with the queue's own lines of each attempt's start and end
/// between.
struct MergedLogs {
  std::vector<LogEntry> entries;
  std::uint64_t dropped = 0;  // lines that were before these; then the first entry says so
};
MergedLogs logs_of(const TaskHistory& history,
                   const std::optional<RunningTasks::Snapshot>& running);

}  // namespace quern
