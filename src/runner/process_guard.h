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
  /// Ends the orphans that are left, lets the guard go, and waits for its end. No runner is left by then.
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
  /// Once the leader has ended and was reaped, and all of its group that can be: it is no runner any
  /// more. Kills and reaps the orphans that its tree left to this process. Those that carry no
  /// sign of whose they are go when no runner is left, but not where this process is the first of
  /// its namespace, which adopts strangers too. Who is older than the guard is no runner's. Answers
  /// false if some live on: what SIGKILL does not end within kTreeEndMax is logged and given up, and
  /// nobody waits for it again. Runners start and end meanwhile.
  bool end_orphans(const ProcessMark& leader);
  /// The tree has ended, or was given up: the guard forgets it.
  void remove(const ProcessMark& leader);

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
  void leave(const ProcessMark& leader);
  /// Processes that were adopted from runners, the dead too; whoever started them is gone.
  [[nodiscard]] std::vector<ProcessStat> list_adopted();
  [[nodiscard]] bool has_adopted();
  struct Adopted {
    std::vector<ProcessStat> alive;  // but for those that were given up
    bool is_runner_left = false;
  };
  Adopted reap_adopted();
  [[nodiscard]] std::vector<ProcessMark> find_orphans(const ProcessMark& leader);
  [[nodiscard]] bool is_known(pid_t pid) const;
  [[nodiscard]] bool is_given_up(pid_t pid) const;
  [[nodiscard]] bool is_orphan_of(const ProcessStat& stat, const ProcessMark& leader,
                                  bool is_runner_left);
  /// Kills them and their descendants, and waits until all are dead; false if some were given up.
  bool end_trees(const std::vector<ProcessMark>& orphans);
  /// Answers who was alive until now.
  [[nodiscard]] std::vector<ProcessMark> kill(const std::vector<ProcessMark>& orphans);
  void give_up(const std::vector<ProcessMark>& processes);

  // Held exclusively while orphans are told from leaders that just start. Nobody waits for a process under it.
  std::shared_mutex starts_;
  mutable std::mutex mutex_;        // guards all below but the last two; taken after starts_
  std::set<ProcessMark> leaders_;   // of the runners
  std::set<ProcessMark> ending_;    // those that have ended, while their orphans are looked for
  std::set<ProcessMark> given_up_;  // of untagged marks: who lives on though SIGKILL was sent
  std::deque<GuardRecord> unsent_;  // what the pipe had no room for, in order
  ProcessScan scan_;                // for looks at what was adopted, and for the guard process
  int state_fd_ = -1;
  int pipe_ = -1;
  pid_t guard_ = -1;
  std::uint64_t began_ = 0;  // when the first guard started: no runner started earlier
  std::mutex killing_;       // guards the next; no other is taken under it
  ProcessScan killing_scan_;
};

}  // namespace quern
