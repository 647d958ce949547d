#pragma once
// Processes of this machine, told apart safely: a process id alone means nothing, it is used again.
//
// Nothing here allocates once a ProcessScan is made, throws or takes a lock: the guard uses it in a forked child.

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/clock.h"

namespace quern {

/// The leader of a runner's process tree.
struct ProcessMark {
  pid_t pid = 0;
  std::uint64_t started = 0;  // clock ticks since boot, as the kernel tells it
  std::uint64_t tag = 0;      // of the tree's own TMPDIR; 0: it has none of its own

  friend auto operator<=>(const ProcessMark&, const ProcessMark&) = default;
};

struct ProcessStat {
  pid_t pid = 0;
  pid_t parent = 0;
  pid_t group = 0;
  pid_t session = 0;
  bool dead = false;  // a zombie, or about to be none
  std::uint64_t started = 0;
};

/// The text of /proc/<pid>/stat.
std::optional<ProcessStat> parse_process_stat(std::string_view text);
std::optional<ProcessStat> find_process(pid_t pid);

/// Stands for a folder that one process tree alone has as its TMPDIR. Never 0.
std::uint64_t tag_of(std::string_view tmpdir);

/// A picture of all processes, taken again and again into the same memory.
class ProcessScan {
 public:
  ProcessScan();
  ~ProcessScan();
  ProcessScan(const ProcessScan&) = delete;
  ProcessScan& operator=(const ProcessScan&) = delete;

  /// The tag of a live process's TMPDIR; 0 if it has none, or may not be read.
  std::uint64_t tag_of_process(pid_t pid);

  /// Kills every process of the marked trees, and looks again until none is left alive: the
  /// leaders, their groups and sessions, all descendants, and whoever carries a leader's tag,
  /// however it left the tree. A process is killed only if its start time is that of the picture; a
  /// leader's id under another start time means nothing. Answers how many live on after `patience`
  /// (in uninterruptible sleep, or not ours to kill).
  std::size_t kill_trees(std::span<const ProcessMark> marks, std::chrono::milliseconds patience);

  /// Whom the last kill_trees() left alive. Calls `each(const ProcessStat&)`.
  template <typename Each>
  void for_each_survivor(Each&& each) const {
    for (std::size_t i = 0; i < count_; ++i) {
      if (entries_[i].doomed && !entries_[i].stat.dead) each(entries_[i].stat);
    }
  }

  /// The children of this very process that are listed by the kernel under its first thread, where
  /// orphans go. Calls `each(pid)`; answers false if the kernel cannot tell.
  template <typename Each>
  bool for_each_adopted(Each&& each) {
    const std::optional<std::string_view> text = read_adopted();
    if (!text) return false;
    pid_t pid = 0;
    for (const char c : *text) {
      if (c >= '0' && c <= '9') {
        pid = pid * 10 + (c - '0');
      } else if (pid != 0) {
        each(pid);
        pid = 0;
      }
    }
    if (pid != 0) each(pid);
    return true;
  }

 private:
  struct Entry {
    ProcessStat stat;
    std::uint64_t tag = 0;
    bool doomed = false;
    bool expanded = false;  // its children are doomed too
  };
  std::optional<std::string_view> read_adopted();
  void take(bool with_tags);
  void doom(std::span<const ProcessMark> marks);
  void doom_descendants();
  [[nodiscard]] bool belongs(const Entry& entry, const ProcessMark& mark, bool leader_stands) const;
  std::size_t kill_doomed();

  Entry* entries_;
  std::size_t count_ = 0;
  char* text_;  // for files of /proc
};

}  // namespace quern
