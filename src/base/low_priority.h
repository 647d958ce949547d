#pragma once
// Threads that others come before where cores are few.

#include <sys/resource.h>
#include <unistd.h>

namespace quern {

/// Puts the calling thread ten steps of `nice` below where it is. No further: whoever waits for what it does, or for its
/// end, would wait for all who keep the cores busy.
inline void lower_own_priority() {
  const auto own = static_cast<id_t>(::gettid());
  ::setpriority(PRIO_PROCESS, own, ::getpriority(PRIO_PROCESS, own) + 10);
}

}  // namespace quern
