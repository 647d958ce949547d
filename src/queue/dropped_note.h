#pragma once
// The entry before a task's logs that says how many older ones are gone.

#include <cstdint>

#include "task/task.h"

namespace quern {

/// `count` is at least 1; `time` is that of the entry that comes next.
LogEntry dropped_note(std::uint64_t count, WallTime time);

}  // namespace quern
