#include "api/sent_logs.h"

#include <vector>

#include "queue/dropped_note.h"

namespace quern::api {

bool SentLogs::take(const LogEntry& entry) {
  if (!entry.number) return own_.emplace(entry.time, entry.message).second;
  if (*entry.number < next_) return false;
  next_ = *entry.number + 1;
  return true;
}

void SentLogs::take_unsent(TaskView& view) {
  std::vector<LogEntry> unsent;
  bool is_note = view.logs_dropped > 0;
  for (LogEntry& entry : view.logs) {
    if (std::exchange(is_note, false)) {
      // It tells of all that the task has lost, of which some may have been sent.
      if (view.logs_dropped <= next_) continue;
      unsent.push_back(dropped_note(view.logs_dropped - next_, entry.time));
      next_ = view.logs_dropped;
    } else if (take(entry)) {
      unsent.push_back(std::move(entry));
    }
  }
  while (own_.size() > kOwnLinesMax) own_.erase(own_.begin());
  view.logs = std::move(unsent);
}

}  // namespace quern::api
