#include "server/serve_signals.h"

#include <fmt/format.h>
#include <signal.h>

#include <condition_variable>
#include <cstdlib>
#include <latch>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/thread_name.h"

namespace quern {
namespace {

constexpr int kStoppedAtOnce = 1;

// Signals are waited for, never handled: blocked before the first thread starts, so that every
// thread inherits that.
sigset_t block_signals() {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

int wait_for_signal(const sigset_t& signals) {
  int number = 0;
  while (sigwait(&signals, &number) != 0) {
  }
  return number;
}

}  // namespace

struct ServeSignals::Seen {
  std::mutex mutex;  // guards the two
  std::condition_variable changed;
  bool reload = false;
  bool stop = false;
  std::latch begun{1};

  void take(int number) {
    {
      const std::scoped_lock lock(mutex);
      if (number != SIGHUP && std::exchange(stop, true)) std::_Exit(kStoppedAtOnce);
      if (number == SIGHUP) reload = true;
    }
    changed.notify_one();
  }
};

Result<ServeSignals> ServeSignals::start() {
  const sigset_t signals = block_signals();
  auto seen = std::make_shared<Seen>();
  try {
    std::thread([signals, seen] {
      name_this_thread("quern-signals");
      seen->begun.count_down();
      for (;;) seen->take(wait_for_signal(signals));
    }).detach();
  } catch (const std::system_error& error) {
    return fail(ErrorCode::unavailable,
                fmt::format("no thread to wait for signals: {}", error.code().message()));
  }
  // The guard of the runners is forked next. Of a thread that just begins it could inherit a lock for ever.
  seen->begun.wait();
  return ServeSignals(std::move(seen));
}

ServeWish ServeSignals::next() {
  std::unique_lock lock(seen_->mutex);
  seen_->changed.wait(lock, [this] { return seen_->stop || seen_->reload; });
  if (seen_->stop) return ServeWish::stop;
  seen_->reload = false;
  return ServeWish::reload;
}

}  // namespace quern
