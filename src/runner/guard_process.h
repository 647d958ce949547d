#pragma once
// The guard's own side: what runs in the forked process, and the state file that it keeps.

#include <filesystem>
#include <vector>

#include "runner/process_guard.h"

namespace quern {

/// Never returns: reads records from `pipe`, keeps `state_fd` up to date, and when the pipe ends
/// kills every tree that is on its list. Uses nothing that a fork in a process with threads
/// forbids: no allocation, no lock.
[[noreturn]] void run_guard_process(int pipe, int state_fd, ProcessScan& scan) noexcept;

/// The trees that a state file names; none if it is missing, damaged, or of an earlier boot of the
/// machine.
std::vector<ProcessMark> read_guard_state(const std::filesystem::path& file);

}  // namespace quern
