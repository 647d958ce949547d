#pragma once
// Keeps the file of the write-ahead log longer than what is in it.
//
// A commit that makes a file longer waits for the file system's own notes about that as well, which
// takes two to three times as long as new bytes in place of old ones. So the file is made longer
// ahead of time, by zeros, which SQLite takes for the end of the log.

#include <cstddef>
#include <cstdint>

struct sqlite3;

namespace quern {

/// Threads: that of the connection. Limits: at most kReserveStepMax beyond what is in the log.
class LogReserve {
 public:
  static constexpr std::int64_t kReserveStepMin = 256 * 1024;
  static constexpr std::int64_t kReserveStepMax = 4 * 1024 * 1024;

  /// After a commit through `connection`, which left `pages` of `page_bytes` in the log. What fails,
  /// such as for want of room, is left undone: then the commits themselves make the file longer.
  void after_commit(sqlite3* connection, std::size_t pages, std::size_t page_bytes);

 private:
  std::int64_t enough_until_ = 0;  // bytes in the log that need no look at the file
};

}  // namespace quern
