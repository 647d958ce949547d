#pragma once
// One I/O thread: an event loop with the connections that live on it. Private to this module's .cc
// files.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/delayed_wakes.h"
#include "http/asio.h"
#include "http/deadlines.h"
#include "http/ready_set.h"

namespace quern::http {

class Connection;

/// Shared by its connections.
/// Operation: run() (or start(), on a thread of its own) until finish(), after which it returns once no
/// operation is under way. Concurrency: post(), is_current() and finish() from any thread; the rest on
/// the loop's own thread. Limits: the sweep for deadlines is coarse, a quarter of the shortest duration
/// and at most a second.
class IoThread final : public Wakeable, public std::enable_shared_from_this<IoThread> {
 public:
  using Work = std::move_only_function<void()>;
  using Executor = boost::asio::io_context::executor_type;
  using Timer = boost::asio::basic_waitable_timer<
      std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>, Executor>;

  explicit IoThread(const Deadlines::Durations& durations);
  ~IoThread() override;
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  [[nodiscard]] boost::asio::io_context& context() { return context_; }
  [[nodiscard]] ReadySet& sockets() { return sockets_; }

  void start();
  void run();
  /// Runs what is ready and returns, for drivers without a thread.
  void poll();
  /// Lets run() return when the last operation has ended. Connections are to be closed by then.
  void finish();
  void join();

  [[nodiscard]] bool is_current() const;
  /// Runs `work` on this thread, later, in order of posting; at the end of the caller's DelayedWakes
  /// at the latest. Destroyed unrun once run() has returned.
  void post(Work work);
  /// For post().
  void wake() override;
  /// Whether run() has returned.
  [[nodiscard]] bool has_ended() const;

  // Connections.
  void add(std::shared_ptr<Connection> connection);
  void remove(Connection& connection);
  [[nodiscard]] const std::vector<std::shared_ptr<Connection>>& connections() const {
    return connections_;
  }
  /// The connection whose code is running; one at a time, since they share scratch().
  Connection* active = nullptr;
  /// Memory for the answers of the active connection.
  std::string scratch;

  void arm(DeadlineEntry& entry, Deadline kind);
  /// Headers that every answer has, of this second.
  [[nodiscard]] std::string_view common_headers();

 private:
  void await_bell();
  void run_inbox();
  static void run_one(Work& work);
  void end();
  void schedule_sweep();
  void sweep();

  boost::asio::io_context context_;
  ReadySet sockets_;
  boost::asio::posix::basic_stream_descriptor<Executor> bell_;  // an eventfd
  std::uint64_t rings_ = 0;                                     // read from it, and of no interest
  std::atomic<bool> is_finishing_ = false;                      // bell_ is no longer heard
  std::thread thread_;
  std::atomic<std::thread::id> id_;

  mutable std::mutex mutex_;  // guards inbox_, wakeup_posted_ and ended_
  std::vector<Work> inbox_;
  bool wakeup_posted_ = false;
  bool ended_ = false;
  std::vector<Work> batch_;  // the inbox being run, kept for its memory

  std::vector<std::shared_ptr<Connection>> connections_;
  Deadlines deadlines_;
  std::chrono::milliseconds sweep_interval_;
  Timer sweep_timer_;
  bool sweeping_ = false;
  std::time_t common_headers_time_ = 0;
  std::string common_headers_;
};

}  // namespace quern::http
