#include "queue/local/running_tasks.h"

#include <string>
#include <utility>

#include "queue/local/journal.h"

namespace quern {

void cut_log_line(std::string& line) {
  if (line.size() <= kLogLineBytesMax) return;
  std::size_t keep = kLogLineBytesMax;
  while (keep > 0 && (static_cast<unsigned char>(line[keep]) & 0xc0U) == 0x80U) --keep;
  const std::size_t cut = line.size() - keep;
  line.resize(keep);
  line += "… [" + std::to_string(cut) + " bytes cut]";
}

// ---- LogBuffer

LogBuffer::LogBuffer(std::vector<NumberedLog> stored) {
  if (stored.empty()) return;
  first_ = stored.front().number;
  stored_first_ = first_;
  for (NumberedLog& line : stored) {
    bytes_ += line.entry.message.size();
    entries_.push_back(std::move(line.entry));
  }
  saved_ = first_ + entries_.size();
}

void LogBuffer::skip(std::uint64_t count) {
  if (count == 0) return;
  first_ += entries_.size() + count;
  saved_ = first_;
  entries_.clear();
  bytes_ = 0;
}

void LogBuffer::append(LogEntry entry) {
  cut_log_line(entry.message);
  bytes_ += entry.message.size();
  entries_.push_back(std::move(entry));
  while (entries_.size() > kLogEntriesMax || bytes_ > kLogBytesMax) drop_oldest();
}

void LogBuffer::drop_oldest() {
  bytes_ -= entries_.front().message.size();
  entries_.pop_front();
  ++first_;
  saved_ = std::max(saved_, first_);
}

std::vector<NumberedLog> LogBuffer::lines() const {
  std::vector<NumberedLog> lines;
  lines.reserve(entries_.size());
  std::uint64_t number = first_;
  for (const LogEntry& entry : entries_) lines.push_back({number++, entry});
  return lines;
}

void LogBuffer::write(const TaskId& id, Journal& journal) const {
  if (first_ > stored_first_) journal.add(DropLogs{id, first_});
  for (std::uint64_t number = saved_; number < first_ + entries_.size(); ++number) {
    const LogEntry& entry = entries_[number - first_];
    journal.add(InsertLog{id, number, entry.time, entry.severity, entry.from_quern, entry.message});
  }
}

void LogBuffer::mark_saved() {
  saved_ = first_ + entries_.size();
  stored_first_ = first_;
}

// ---- RunningTasks

void RunningTasks::start(const TaskId& id, std::uint32_t attempt, WallTime started) {
  const std::scoped_lock lock(mutex_);
  tasks_.insert_or_assign(id.sequence(), Running{id, attempt, started, std::nullopt});
}

void RunningTasks::end(const TaskId& id) {
  const std::scoped_lock lock(mutex_);
  tasks_.erase(id.sequence());
  unsaved_.erase(id.sequence());
}

std::optional<WallTime> RunningTasks::started(const TaskId& id) const {
  const auto found = tasks_.find(id.sequence());
  if (found == tasks_.end()) return std::nullopt;
  return found->second.started;
}

std::optional<RunningTasks::Snapshot> RunningTasks::snapshot(const TaskId& id) const {
  const std::scoped_lock lock(mutex_);
  const auto found = tasks_.find(id.sequence());
  if (found == tasks_.end()) return std::nullopt;
  const Running& running = found->second;
  Snapshot snapshot{running.attempt, running.started, std::nullopt};
  if (running.logs) snapshot.logs = running.logs->lines();
  return snapshot;
}

void RunningTasks::append(const TaskId& id, Beat beat, const Load& load) {
  const auto found = tasks_.find(id.sequence());
  if (found == tasks_.end() || beat.logs.empty()) return;
  Running& running = found->second;
  std::optional<LogBuffer> earlier;
  if (!running.logs) {
    Result<std::vector<NumberedLog>> stored = load();  // reads the disk: not under the lock
    // Logs that cannot be read are not worth failing a heartbeat, and these would be stored in the
    // places of those.
    if (!stored) return;
    earlier.emplace(*std::move(stored));
  }
  const std::scoped_lock lock(mutex_);
  if (earlier) running.logs = std::move(earlier);
  running.logs->skip(beat.logs_dropped);
  for (LogEntry& entry : beat.logs) running.logs->append(std::move(entry));
  unsaved_.insert(id.sequence());
}

void RunningTasks::write_unsaved(Journal& journal) const {
  for (const std::int64_t sequence : unsaved_) {
    const Running& running = tasks_.at(sequence);
    running.logs->write(running.id, journal);
  }
}

void RunningTasks::mark_saved() {
  const std::scoped_lock lock(mutex_);
  for (const std::int64_t sequence : unsaved_) tasks_.at(sequence).logs->mark_saved();
  unsaved_.clear();
}

}  // namespace quern
