#pragma once
// Which sockets of an I/O thread have something to read or room to write. Private to this module's .cc files.

#include <sys/epoll.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "http/asio.h"

namespace quern::http {

/// An epoll set of its own, beside Asio's: Asio asks each socket once more after every read whether there is
/// more (docs/decisions/0018), and takes its locks and queues for each.
/// Operation: members are told of their events in batches, edge-triggered, between two pieces of Asio's work.
/// Concurrency: the thread that runs the context. Limits: kBatch members at a time.
class ReadySet {
 public:
  class Member {
   public:
    /// `events`: EPOLLIN, EPOLLPRI, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR. May remove itself and others. An exception
    /// is logged.
    virtual void on_ready(std::uint32_t events) = 0;

   protected:
    ~Member() = default;
  };

  explicit ReadySet(boost::asio::io_context& context);
  ReadySet(const ReadySet&) = delete;
  ReadySet& operator=(const ReadySet&) = delete;

  [[nodiscard]] boost::asio::io_context::executor_type executor() { return set_.get_executor(); }

  /// False when the system has no room for one more. `member` lives until remove().
  [[nodiscard]] bool add(int socket, Member& member);
  /// `member` is told of nothing more, not even of what was gathered already.
  void remove(int socket, const Member& member);
  /// Tells of all that is ready now, at once. Not from on_ready().
  void tell_all();
  /// Lets the context end.
  void finish();

 private:
  static constexpr std::size_t kBatch = 128;

  void await();
  /// How many were ready, of kBatch at most.
  std::size_t tell();

  boost::asio::posix::basic_stream_descriptor<boost::asio::io_context::executor_type> set_;
  std::array<epoll_event, kBatch> events_;
  std::size_t next_ = 0;  // events_[next_, count_) are still to be told
  std::size_t count_ = 0;
  std::size_t members_ = 0;
  bool is_finished_ = false;
};

}  // namespace quern::http
