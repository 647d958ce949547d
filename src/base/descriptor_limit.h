#pragma once
// How many descriptors this process may have open, and how many the programs that it starts.

#include <sys/resource.h>

namespace quern {

/// Raises this process's limit to the highest that it may set itself. Once, early; answers what holds then.
rlim_t raise_descriptor_limit();

/// What a program started from here is to have: the limit that this process was given before it was raised, since what
/// uses select() breaks where descriptors have numbers that it was not made for. Threads: any.
[[nodiscard]] rlimit program_descriptor_limit();

}  // namespace quern
