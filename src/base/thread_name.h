#pragma once
// What `top -H`, `perf` and a debugger call a thread.

#include <pthread.h>

#include <cstddef>

namespace quern {

/// Names the calling thread. `name`: "quern-" and what it does, 15 characters at most, which is what
/// the kernel keeps.
template <std::size_t size>
void name_this_thread(const char (&name)[size]) {
  static_assert(size <= 16);
  ::pthread_setname_np(::pthread_self(), name);
}

}  // namespace quern
