#pragma once
// Which processes of runners are alive: those that work in a folder of the test's. The server and
// its guard work elsewhere, so they are never among them.

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace quern {

/// Whether the process works in `folder`; a zombie works nowhere.
inline bool works_in(pid_t pid, const std::filesystem::path& folder) {
  std::error_code gone;
  const auto place = std::filesystem::read_symlink(
      std::filesystem::path("/proc") / std::to_string(pid) / "cwd", gone);
  return !gone && place == folder;
}

inline std::vector<pid_t> runners_in(const std::filesystem::path& folder) {
  std::vector<pid_t> found;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", gone)) {
    const std::string name = entry.path().filename().string();
    pid_t pid = 0;
    const auto [end, fault] = std::from_chars(name.data(), name.data() + name.size(), pid);
    const bool is_pid = fault == std::errc{} && end == name.data() + name.size();
    if (is_pid && works_in(pid, folder)) found.push_back(pid);
  }
  return found;
}

/// SIGKILL to `pid`, if it is still the process that works in `folder`: an id that was given to
/// another process meanwhile is not hit. True: it was sent.
inline bool kill_runner(pid_t pid, const std::filesystem::path& folder) {
  const int handle = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (handle < 0) return false;
  const bool sent =
      works_in(pid, folder) && ::syscall(SYS_pidfd_send_signal, handle, SIGKILL, nullptr, 0) == 0;
  ::close(handle);
  return sent;
}

}  // namespace quern
