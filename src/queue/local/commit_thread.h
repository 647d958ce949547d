#pragma once
// The one thread that writes: gathers commands and carries out whatever has gathered, in one go.
//
// While a transaction is being written the next one's commands gather, so their number follows the
// load by itself. Limits: kCommandsWaitingMax commands wait; more are not taken. Threads: any.

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

#include "base/awake_core.h"
#include "base/clock.h"
#include "queue/local/command.h"
#include "queue/local/committer.h"

namespace quern {

inline constexpr std::size_t kCommandsWaitingMax = 100'000;

class CommitThread {
 public:
  CommitThread(Committer& committer, Clock& clock) : committer_(committer), clock_(clock) {}
  ~CommitThread() { stop(); }
  CommitThread(const CommitThread&) = delete;
  CommitThread& operator=(const CommitThread&) = delete;

  void start();
  /// Carries out what has gathered, then ends the thread. Idempotent.
  void stop();

  /// Takes the command, or gives back why not; then it is untouched.
  [[nodiscard]] const char* push(Command&& command);
  /// Looks at the clock again: what is due may have become so.
  void wake();

 private:
  void loop();
  /// Waits for commands or what is due; false when it is time to end.
  bool take(std::vector<Command>& commands);
  void wait(std::unique_lock<std::mutex>& lock);
  void run(std::vector<Command>& commands);

  Committer& committer_;
  Clock& clock_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::vector<Command> waiting_;
  bool idle_ = false;  // the thread waits: only then a notification is worth its system call
  bool woken_ = false;
  bool stopping_ = false;
  AwakeCore core_;  // for the commit thread alone
  std::thread thread_;
};

}  // namespace quern
