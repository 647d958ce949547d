#pragma once
// A core that does not sleep while it is known to be needed again at once.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

namespace quern {

/// A core with nothing to do goes to sleep, and takes tens of microseconds to wake. While it is kept
/// awake a thread of low priority turns on it, which offers it to others all the time. Once another has
/// taken it for long, it has something to do, and is left alone for the next kLeftOutMin calls; for
/// twice as many each time until it is found idle again.
///
/// Threads: one at a time.
class AwakeCore {
 public:
  AwakeCore() = default;
  ~AwakeCore();
  AwakeCore(const AwakeCore&) = delete;
  AwakeCore& operator=(const AwakeCore&) = delete;

  static constexpr int kLeftOutMin = 8;

  /// Keeps the calling thread's core awake for `time` from now, in place of what an earlier call asked
  /// for. The first call begins the thread, or a later one where there is none to be had.
  void keep_for(std::chrono::microseconds time);

 private:
  using Time = std::chrono::steady_clock::time_point;

  /// What a core turned out to be.
  enum class Found : std::uint8_t { idle, busy, unknown };

  void begin();
  void loop();
  /// Until it is not kept any more, or has something to do.
  Found turn();
  [[nodiscard]] bool is_kept() const { return std::chrono::steady_clock::now() < until_.load(); }

  std::atomic<Time> until_{Time{}};
  std::atomic<int> core_{0};
  std::atomic<int> left_out_{0};  // calls that are to do nothing
  std::atomic<bool> is_asleep_{false};
  std::atomic<bool> is_stopping_{false};
  std::mutex mutex_;
  std::condition_variable wake_;  // is_kept() or is_stopping_
  int own_core_ = -1;             // the thread's
  std::thread thread_;
};

}  // namespace quern
