#pragma once
// One runner: a program in a session and process group of its own, with pipes for its three
// streams, under guard.

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "artifact/file_descriptor.h"
#include "base/result.h"
#include "runner/process_guard.h"

namespace quern {

struct ChildSpec {
  std::vector<std::string>
      command;  // a name without a slash is looked for in PATH; all paths are relative to `folder`
  std::filesystem::path folder;          // the working directory
  std::vector<std::string> environment;  // "NAME=value", nothing else is passed on
  std::uint64_t tag = 0;                 // tag_of its TMPDIR, if no other tree has the same
  mode_t umask = 022;                    // instead of this process's own
};

/// How a program ended.
struct ChildEnd {
  bool exited = false;  // by itself, with `code`; else by signal `code`
  int code = 0;
  bool all_dead = true;  // false: some of its processes could not be killed

  [[nodiscard]] bool is_success() const { return exited && code == 0; }
  [[nodiscard]] std::string describe() const;  // "exit 3", "signal 11 (Segmentation fault)"
};

/// Threads: one at a time.
class ChildProcess {
 public:
  /// The program runs, or could not be started (invalid_argument: the message says why, without a
  /// path of this machine; unavailable: no descriptors or memory). The memory of this process is
  /// not copied, however large it is.
  static Result<ChildProcess> start(const ChildSpec& spec, ProcessGuard& guard);
  /// Whatever still runs is killed.
  ~ChildProcess();
  ChildProcess(ChildProcess&&) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;

  // All three do not block; closing them is the owner's.
  FileDescriptor stdin_fd;
  FileDescriptor stdout_fd;
  FileDescriptor stderr_fd;

  /// Readable once the leader has ended.
  [[nodiscard]] int exit_fd() const { return exit_.get(); }
  [[nodiscard]] pid_t pid() const { return mark_.pid; }
  /// To the group. After the leader's end too, as long as end_tree() was not called.
  void signal_group(int signal) const;
  /// Reaps what this and other trees have left behind and is dead already.
  void reap_orphans() const { guard_->reap_orphans(); }
  /// Kills what is left of the tree, which is the whole of it unless the leader has ended, waits
  /// until all are dead, and reaps them. Takes a few system calls when the leader has ended and
  /// left nobody. Once only.
  ChildEnd end_tree();

 private:
  ChildProcess(ProcessGuard& guard, ProcessMark mark, FileDescriptor exit)
      : guard_(&guard), mark_(mark), exit_(std::move(exit)) {}
  bool reap_group() const;

  ProcessGuard* guard_;  // null once the tree has ended
  ProcessMark mark_;
  FileDescriptor exit_;  // a pidfd
};

}  // namespace quern
