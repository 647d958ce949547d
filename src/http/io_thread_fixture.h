#pragma once
// For tests: an I/O thread to drive, and sockets for it.

#include <sys/socket.h>

#include <chrono>
#include <memory>
#include <string_view>

#include "base/assert.h"
#include "http/file_handle.h"
#include "http/io_thread.h"

namespace quern::http {

/// No deadline of it comes.
inline std::shared_ptr<IoThread> make_io_thread() {
  Deadlines::Durations durations;
  durations.fill(std::chrono::hours(1));
  return std::make_shared<IoThread>(durations);
}

/// Two connected sockets, neither of which blocks.
struct SocketPair {
  SocketPair() {
    int ends[2] = {-1, -1};
    QUERN_ASSERT(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    ours = FileHandle(ends[0]);
    peer = FileHandle(ends[1]);
  }
  void send(std::string_view bytes) const {
    QUERN_ASSERT(::send(peer.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == std::ssize(bytes));
  }
  void end_sending() const { ::shutdown(peer.fd(), SHUT_WR); }

  FileHandle ours;
  FileHandle peer;
};

}  // namespace quern::http
