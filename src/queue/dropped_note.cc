#include "queue/dropped_note.h"

#include <fmt/format.h>

#include "queue/queue.h"

namespace quern {

LogEntry dropped_note(std::uint64_t count, WallTime time) {
  return {.time = time,
          .severity = LogSeverity::warn,
          .from_quern = true,
          .message = fmt::format("{} earlier {} dropped: a task keeps up to {} lines and {} KiB",
                                 count, count == 1 ? "line was" : "lines were", kLogEntriesMax,
                                 kLogBytesMax / 1024)};
}

}  // namespace quern
