#pragma once
// The embedded store's reading side: one read-only connection, seeing what is committed.
// Threads: one at a time.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "queue/local/journal_rows.h"
#include "queue/queue.h"

namespace quern {

class Connection;

/// What happened to a task besides its state.
struct TaskHistory {
  // The oldest first; of the attempts the newest kStoredAttemptsMax, and the one it ended with.
  std::vector<StoredAttempt> attempts;
  std::vector<NumberedLog> logs;
};

/// Everything about an ended task.
struct EndedRecord {
  EndedTask task;
  TaskHistory history;
  std::optional<Error> history_failure{};  // it cannot be read, although the rest is there
};

/// One row of a list; the live ones as they are stored.
struct ListedTask {
  TaskRow row;
  StoredResult result;  // without outputs and metadata
};

struct ListedPage {
  std::vector<ListedTask> tasks;
  bool more = false;
  std::int64_t oldest = 0;  // sequence: nothing older was looked for
};

class JournalReader {
 public:
  static Result<std::unique_ptr<JournalReader>> open(const std::filesystem::path& file);
  ~JournalReader();
  JournalReader(const JournalReader&) = delete;
  JournalReader& operator=(const JournalReader&) = delete;

  /// One consistent look; nullopt if the task is not an ended one.
  Result<std::optional<EndedRecord>> find_ended(const TaskId& id);
  Result<TaskHistory> history(const TaskId& id);
  Result<bool> is_live(const TaskId& id);
  /// The newest first. `submitted_before` stands for the filter's age. Walks the tables backwards
  /// from `filter.before` for at most kListScanMax steps of SQLite in each of the two tables; a page
  /// that was cut short by that says `more`.
  Result<ListedPage> list(const TaskFilter& filter, std::optional<WallTime> submitted_before);

 private:
  struct Impl;
  explicit JournalReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// About two seconds of a slow core's scanning.
inline constexpr int kListScanMax = 200'000'000;

}  // namespace quern
