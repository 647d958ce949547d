#include "base/awake_core.h"

#include <pthread.h>
#include <sched.h>

#include "base/thread_name.h"

namespace quern {
namespace {

bool take_lowest_class() {
  const sched_param none{};
  return ::sched_setscheduler(0, SCHED_IDLE, &none) == 0;
}

constexpr unsigned kTurnsPerYield = 32;  // some 10 µs

/// Leaves what the core shares with another one to that, for a moment.
void relax() {
  for (int i = 0; i < 8; ++i) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
}

void move_to(int core) {
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(static_cast<std::size_t>(core), &only);
  // Where this is not allowed the thread stays where the system puts it.
  ::pthread_setaffinity_np(::pthread_self(), sizeof only, &only);
}

}  // namespace

AwakeCore::~AwakeCore() {
  {
    const std::scoped_lock lock(mutex_);
    is_stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void AwakeCore::keep_for(std::chrono::microseconds time) {
  core_ = ::sched_getcpu();
  until_ = std::chrono::steady_clock::now() + time;
  if (!thread_.joinable()) {
    thread_ = std::thread([this] { loop(); });
    return;
  }
  if (!is_asleep_) return;
  {
    const std::scoped_lock lock(mutex_);
  }  // it waits, or has yet to look at until_
  wake_.notify_one();
}

void AwakeCore::loop() {
  name_this_thread("quern-awake");
  if (!take_lowest_class()) return;
  int core = -1;
  while (!is_stopping_) {
    {
      std::unique_lock lock(mutex_);
      is_asleep_ = true;
      wake_.wait(lock, [this] { return is_kept() || is_stopping_; });
      is_asleep_ = false;
    }
    for (unsigned turn = 1; is_kept() && !is_stopping_; ++turn) {
      if (const int wanted = core_; wanted >= 0 && wanted != core) move_to(core = wanted);
      relax();
      // Who has given the core away for a moment gets it back soon, not at the system's next tick.
      if (turn % kTurnsPerYield == 0) ::sched_yield();
    }
  }
}

}  // namespace quern
