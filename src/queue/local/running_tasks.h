#pragma once
// What is known of running tasks beside their state: when the attempt started, and its logs before
// they are stored.
//
// Lines are visible at once and stored with a later transaction, at the latest with the attempt's
// end. Limits: kLogEntriesMax and kLogBytesMax a task, the oldest dropped; lines over
// kLogLineBytesMax are cut. Threads: one writer (the commit thread); snapshot() from any.

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "queue/local/journal_rows.h"
#include "queue/queue.h"

namespace quern {

class Journal;

/// `line` without what is over kLogLineBytesMax, cut between characters, with a mark that says how
/// much went.
void cut_log_line(std::string& line);

/// The log lines of one task, numbered from 0.
class LogBuffer {
 public:
  /// Begins with what earlier attempts stored.
  explicit LogBuffer(std::vector<NumberedLog> stored);
  LogBuffer() = default;

  /// Lines that were to come next and are gone. All before them go as well: what is kept has no gaps.
  void skip(std::uint64_t count);
  void append(LogEntry entry);
  [[nodiscard]] std::vector<NumberedLog> lines() const;
  [[nodiscard]] bool has_unsaved() const { return saved_ < first_ + entries_.size(); }
  /// Writes what is not stored yet, and forgets what was dropped, in the journal's open
  /// transaction.
  void write(const TaskId& id, Journal& journal) const;
  /// The transaction was committed.
  void mark_saved();

 private:
  void drop_oldest();

  std::deque<LogEntry> entries_;
  std::size_t bytes_ = 0;
  std::uint64_t first_ = 0;         // number of entries_.front()
  std::uint64_t saved_ = 0;         // lines before this number are stored, or dropped
  std::uint64_t stored_first_ = 0;  // the store may have lines from this number on
};

class RunningTasks {
 public:
  struct Snapshot {
    std::uint32_t attempt = 0;
    WallTime started;
    std::optional<std::vector<NumberedLog>> logs;  // all of the task's; nullopt: as stored
  };

  void start(const TaskId& id, std::uint32_t attempt, WallTime started);
  void end(const TaskId& id);
  [[nodiscard]] std::optional<WallTime> started(const TaskId& id) const;
  [[nodiscard]] std::optional<Snapshot> snapshot(const TaskId& id) const;

  /// The logs of `beat`. `load` gives the lines of earlier attempts, asked for once an attempt, or until it can.
  using Load = std::function<Result<std::vector<NumberedLog>>()>;
  void append(const TaskId& id, Beat beat, const Load& load);
  [[nodiscard]] bool has_unsaved() const { return !unsaved_.empty(); }
  void write_unsaved(Journal& journal) const;
  void mark_saved();

 private:
  struct Running {
    TaskId id;
    std::uint32_t attempt = 0;
    WallTime started;
    std::optional<LogBuffer> logs;
  };

  mutable std::mutex mutex_;  // guards tasks_ against snapshot(); the writer reads without it
  std::unordered_map<std::int64_t, Running> tasks_;  // by sequence
  std::unordered_set<std::int64_t> unsaved_;
};

}  // namespace quern
