#pragma once
// One thread that calls back at a point in time: for held answers and event streams.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

namespace quern::api {

/// Threads: any. Callbacks run on the timer thread: quick, never blocking. stop() is idempotent;
/// what is due later is dropped then.
class Timers {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Callback = std::move_only_function<void()>;
  /// Orders by time; the number makes it unique. A default one names no timer.
  using Id = std::pair<Time, std::uint64_t>;

  Timers();
  ~Timers() { stop(); }
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;

  Id call_at(Time when, Callback callback);
  Id call_after(std::chrono::milliseconds delay, Callback callback) {
    return call_at(std::chrono::steady_clock::now() + delay, std::move(callback));
  }
  /// Nothing happens if it was called already. The callback may be running at this moment.
  void cancel(const Id& id);
  void stop();

 private:
  void loop();

  std::mutex mutex_;  // guards due_, next_number_ and stopped_
  std::condition_variable wake_;
  std::map<Id, Callback> due_;
  std::uint64_t next_number_ = 1;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace quern::api
