#pragma once
// A core that does not sleep while it is known to be needed again at once.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace quern {

/// A core with nothing to do goes to sleep, and takes tens of microseconds to wake. While it is kept
/// awake a thread of the lowest scheduling class turns on it: whatever else wants the core has it at
/// once. Where the system does not grant that class, nothing is kept awake.
///
/// Threads: one at a time.
class AwakeCore {
 public:
  AwakeCore() = default;
  ~AwakeCore();
  AwakeCore(const AwakeCore&) = delete;
  AwakeCore& operator=(const AwakeCore&) = delete;

  /// Keeps the calling thread's core awake for `time` from now, in place of what an earlier call asked
  /// for. The first call begins the thread.
  void keep_for(std::chrono::microseconds time);

 private:
  using Time = std::chrono::steady_clock::time_point;

  void loop();
  [[nodiscard]] bool is_kept() const { return std::chrono::steady_clock::now() < until_.load(); }

  std::atomic<Time> until_{Time{}};
  std::atomic<int> core_{0};
  std::atomic<bool> is_asleep_{false};
  std::atomic<bool> is_stopping_{false};
  std::mutex mutex_;
  std::condition_variable wake_;  // is_kept() or is_stopping_
  std::thread thread_;
};

}  // namespace quern
