#include "base/awake_core.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/low_priority.h"
#include "base/thread_name.h"

namespace quern {
namespace {

/// Longer than those take who were woken for the moment.
constexpr std::chrono::milliseconds kTakenForLong{1};

/// A core that was had so often in a row is idle: some 30 µs.
constexpr int kTurnsUndisturbed = 16;
constexpr int kLeftOutMax = 4'096;

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
  if (left_out_ > 0) {
    --left_out_;
    return;
  }
  core_ = ::sched_getcpu();
  until_ = std::chrono::steady_clock::now() + time;
  if (!thread_.joinable()) return begin();
  if (!is_asleep_) return;
  // Under the lock: so the thread waits, or has yet to look at until_.
  const std::scoped_lock lock(mutex_);
  wake_.notify_one();
}

void AwakeCore::begin() {
  try {
    thread_ = std::thread([this] { loop(); });
  } catch (const std::system_error&) {
    left_out_ = kLeftOutMax;  // this machine has no thread to spare
  }
}

void AwakeCore::loop() {
  name_this_thread("quern-awake");
  lower_own_priority();
  int leaves_out = kLeftOutMin;
  while (!is_stopping_) {
    {
      std::unique_lock lock(mutex_);
      is_asleep_ = true;
      wake_.wait(lock, [this] { return is_kept() || is_stopping_; });
      is_asleep_ = false;
    }
    switch (turn()) {
      case Found::idle:
        leaves_out = kLeftOutMin;
        break;
      case Found::busy:
        until_ = Time{};
        left_out_ = leaves_out;
        leaves_out = std::min(2 * leaves_out, kLeftOutMax);
        break;
      case Found::unknown:
        break;
    }
  }
}

AwakeCore::Found AwakeCore::turn() {
  int turns = 0;
  for (Time begun = std::chrono::steady_clock::now(); is_kept() && !is_stopping_; ++turns) {
    if (const int wanted = core_; wanted >= 0 && wanted != own_core_) move_to(own_core_ = wanted);
    relax();
    ::sched_yield();  // to whoever was woken, which a system may let wait for its next tick
    const Time now = std::chrono::steady_clock::now();
    if (now - std::exchange(begun, now) >= kTakenForLong) return Found::busy;
  }
  return turns < kTurnsUndisturbed ? Found::unknown : Found::idle;
}

}  // namespace quern
