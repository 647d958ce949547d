#include "http/io_thread.h"

#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <system_error>

#include "base/assert.h"
#include "base/log.h"
#include "base/thread_name.h"
#include "http/answer_head.h"
#include "http/connection.h"

namespace quern::http {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSweepIntervalMin{2};
constexpr milliseconds kSweepIntervalMax{1'000};
constexpr int kConcurrencyHint = 1;  // one thread runs the context; others may post

/// The kernel's tick is fine enough for deadlines and several times cheaper to read than the exact
/// clock.
CoarseTime coarse_now() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return CoarseTime(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

int make_event() {
  const int event = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (event < 0) throw std::system_error(errno, std::system_category(), "eventfd");
  return event;
}

milliseconds choose_sweep_interval(const Deadlines::Durations& durations) {
  return std::clamp(*std::ranges::min_element(durations) / 4, kSweepIntervalMin, kSweepIntervalMax);
}

}  // namespace

IoThread::IoThread(const Deadlines::Durations& durations)
    : context_(kConcurrencyHint),
      sockets_(context_),
      bell_(context_, make_event()),
      deadlines_(durations),
      sweep_interval_(choose_sweep_interval(durations)),
      sweep_timer_(context_) {
  await_bell();
}

IoThread::~IoThread() { QUERN_ASSERT(!thread_.joinable()); }

void IoThread::start() {
  thread_ = std::thread([this] {
    name_this_thread("quern-io");
    run();
  });
}

void IoThread::run() {
  id_.store(std::this_thread::get_id());
  for (;;) {
    try {
      context_.run();
      break;
    } catch (const std::exception& error) {
      log_error("An I/O thread caught an exception", {{"what", error.what()}});
    }
  }
  end();
}

void IoThread::poll() {
  id_.store(std::this_thread::get_id());
  context_.poll();
}

void IoThread::finish() {
  post([this] {
    is_finishing_ = true;
    bell_.cancel();
    sockets_.finish();
    sweep_timer_.cancel();
    wake();  // for those who have rung and were not heard
  });
}

void IoThread::join() {
  if (thread_.joinable()) thread_.join();
}

bool IoThread::is_current() const {
  return id_.load(std::memory_order_relaxed) == std::this_thread::get_id();
}

void IoThread::post(Work work) {
  {
    const std::scoped_lock lock(mutex_);
    if (ended_) return;
    inbox_.push_back(std::move(work));
    if (std::exchange(wakeup_posted_, true)) return;
  }
  DelayedWakes::wake(shared_from_this());
}

/// Not by Asio's post(): it tells the loop while it holds the lock that the loop takes next. Where the
/// loop is given the caller's core at once, it would find that lock taken and give the core away again.
void IoThread::wake() {
  if (is_finishing_) return boost::asio::post(context_, [this] { run_inbox(); });
  const std::uint64_t once = 1;
  // Fails only when it has rung 2^64 times unheard.
  static_cast<void>(::write(bell_.native_handle(), &once, sizeof once));
}

void IoThread::await_bell() {
  bell_.async_read_some(boost::asio::buffer(&rings_, sizeof rings_),
                        [this](boost::system::error_code error, std::size_t /*bytes*/) {
                          if (error || is_finishing_) return;
                          await_bell();
                          run_inbox();
                        });
}

bool IoThread::has_ended() const {
  const std::scoped_lock lock(mutex_);
  return ended_;
}

void IoThread::run_inbox() {
  {
    const std::scoped_lock lock(mutex_);
    wakeup_posted_ = false;
    batch_.swap(inbox_);
  }
  for (Work& work : batch_) {
    run_one(work);
    work = nullptr;
  }
  batch_.clear();
}

/// What one piece of work throws must not keep the rest of its batch from being run.
void IoThread::run_one(Work& work) {
  try {
    work();
  } catch (const std::exception& error) {
    log_error("An I/O thread caught an exception", {{"what", error.what()}});
  }
}

/// Nothing that waits here may keep its connection, and that this object, alive.
void IoThread::end() {
  std::vector<Work> dropped;
  const std::scoped_lock lock(mutex_);
  ended_ = true;
  dropped.swap(inbox_);
}

void IoThread::add(std::shared_ptr<Connection> connection) {
  connection->set_slot(connections_.size());
  connections_.push_back(std::move(connection));
}

void IoThread::remove(Connection& connection) {
  const std::size_t slot = connection.slot();
  const std::shared_ptr<Connection> keep = std::move(connections_[slot]);
  if (slot + 1 != connections_.size()) {
    connections_[slot] = std::move(connections_.back());
    connections_[slot]->set_slot(slot);
  }
  connections_.pop_back();
}

void IoThread::arm(DeadlineEntry& entry, Deadline kind) {
  deadlines_.arm(entry, kind, coarse_now());
  if (!sweeping_) schedule_sweep();
}

void IoThread::schedule_sweep() {
  sweeping_ = true;
  sweep_timer_.expires_after(sweep_interval_);
  sweep_timer_.async_wait([this](boost::system::error_code error) {
    sweeping_ = false;
    if (!error) sweep();
  });
}

void IoThread::sweep() {
  deadlines_.expire(coarse_now(), [](DeadlineEntry& entry, Deadline kind) {
    auto& connection = static_cast<Connection&>(entry);
    const auto keep = connection.shared_from_this();
    connection.on_deadline(kind);
  });
  if (!deadlines_.empty() && !sweeping_) schedule_sweep();
}

std::string_view IoThread::common_headers() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  if (now.tv_sec != common_headers_time_ || common_headers_.empty()) {
    common_headers_time_ = now.tv_sec;
    common_headers_ = make_common_headers(now.tv_sec);
  }
  return common_headers_;
}

}  // namespace quern::http
