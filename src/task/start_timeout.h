#pragma once
// How long a task may be told to wait for its first start.

#include <chrono>

namespace quern {

inline constexpr std::chrono::days kStartTimeoutMax{366};

}  // namespace quern
