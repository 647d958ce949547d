#pragma once
// Sees to it that no runner outlives its server, whatever ends the server.
//
// A guard process of its own session holds the reading end of a pipe. Every runner is reported
// there before it starts its program; when the pipe ends, the server is gone, and the guard kills
// every tree that was not reported ended. It also keeps the list in a state file, so that the next
// server can end what a guard that was killed itself left. While the server lives, orphans of its
// runners become its own children, and are ended with their task.
//
// One guard a process: orphans cannot be told apart by it otherwise.

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <vector>

#include "base/result.h"
#include "runner/process_tree.h"

namespace quern {

inline constexpr std::chrono::seconds kTreeEndMax{
    5};  // from SIGKILL until a tree is given up as unkillable
inline constexpr std::size_t kGuardedMax = 16'384;  // trees at once; those beyond are not guarded

/// What goes through the pipe; smaller than PIPE_BUF, so each write arrives whole.
struct GuardRecord {
  enum class Kind : std::uint32_t { add, remove };
  Kind kind = Kind::add;
  std::int32_t pid = 0;
  std::uint64_t started = 0;
  std::uint64_t tag = 0;

  bool operator==(const GuardRecord&) const = default;
};

/// Threads: any.
class ProcessGuard {
 public:
  /// Ends what an earlier server left behind according to `state_file`, then starts the guard. Call
  /// it when no other server can be using the same data folder, best before threads start. Makes
  /// this process adopt the orphans of its descendants. Errors: unavailable (file cannot be
  /// written, no process can be made).
  static Result<std::unique_ptr<ProcessGuard>> start(const std::filesystem::path& state_file);
  /// Lets the guard go, and waits for its end.
  ~ProcessGuard();
  ProcessGuard(const ProcessGuard&) = delete;
  ProcessGuard& operator=(const ProcessGuard&) = delete;

  /// While it lives, a process may be started that is not yet known by add().
  [[nodiscard]] std::shared_lock<std::shared_mutex> start_lock() {
    return std::shared_lock(starts_);
  }
  /// Where a child reports itself before it starts its program (kind add). Never blocks.
  [[nodiscard]] int pipe() const;
  /// A child that has reported itself (or could not: `reported` is false) runs. Needs start_lock().
  void add(const ProcessMark& leader, bool reported);
  /// The tree has ended, and its leader was reaped.
  void remove(const ProcessMark& leader);

  /// Kills and reaps the orphans that `leader`'s tree left to this process. Those that carry no
  /// sign of whose they are go when no other tree runs, but not where this process is the first of
  /// its namespace, which adopts strangers too. Who is older than the guard is no runner's. Answers
  /// false if some live on.
  bool end_orphans(const ProcessMark& leader);

  /// Reaps orphans that have ended, so that a runner that makes many of them and runs for days does not
  /// fill the machine's table of processes. Also tells a slow guard what it could not be told before.
  void reap_orphans();

  [[nodiscard]] pid_t pid() const;  // of the guard process

 private:
  ProcessGuard() = default;
  Result<void> spawn();
  void restart();
  void report(GuardRecord::Kind kind, const ProcessMark& leader);
  void send_unsent();
  bool write_unsent();
  /// Processes that were adopted from runners, the dead too; whoever started them is gone.
  [[nodiscard]] std::vector<ProcessStat> adopted_orphans();
  [[nodiscard]] bool has_adopted();
  [[nodiscard]] std::vector<ProcessMark> find_orphans(const ProcessMark& leader);
  [[nodiscard]] bool is_known(pid_t pid) const;
  [[nodiscard]] bool is_orphan_of(const ProcessStat& stat, const ProcessMark& leader);

  std::shared_mutex
      starts_;  // held exclusively while orphans are told from leaders that just start
  mutable std::mutex mutex_;  // guards all below; taken after starts_
  std::set<ProcessMark> leaders_;
  std::deque<GuardRecord> unsent_;  // what the pipe had no room for, in order
  std::unique_ptr<ProcessScan> scan_;
  int state_fd_ = -1;
  int pipe_ = -1;
  pid_t guard_ = -1;
  std::uint64_t began_ = 0;  // when the first guard started: no runner started earlier
};

}  // namespace quern
