#pragma once
// Which log entries of a task an event stream has sent.

#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "queue/queue.h"

namespace quern::api {

/// Operation: a runner's line is known by its number. The queue's own lines have none, stand anywhere
/// between, and are known by what they say. Limits: kOwnLinesMax own lines, the oldest forgotten, which is
/// more than a task keeps. Threads: one at a time.
class SentLogs {
 public:
  /// Leaves in `view` what no view before had. A note of dropped lines counts those that are missing
  /// here: that were in no view.
  void take_unsent(TaskView& view);

 private:
  static constexpr std::size_t kOwnLinesMax = 4'096;

  bool take(const LogEntry& entry);  // false: it was sent

  std::uint64_t next_ = 0;  // of the runner's lines; those before were sent, or told of as dropped
  std::set<std::pair<WallTime, std::string>> own_;
};

}  // namespace quern::api
