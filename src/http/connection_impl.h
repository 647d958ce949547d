#pragma once
// The way into a connection's code, for the .cc files that implement it.

#include <utility>

#include "base/assert.h"
#include "http/connection.h"
#include "http/io_thread.h"

namespace quern::http {

/// While it lives, the connection is its thread's active one and has the thread's memory for
/// answers.
class Activation {
 public:
  Activation(IoThread& io, Connection& connection, bool& running, std::string& outbox)
      : io_(io), running_(running), outbox_(outbox) {
    QUERN_ASSERT(io_.active == nullptr);
    io_.active = &connection;
    running_ = true;
    if (outbox_.empty()) outbox_.swap(io_.scratch);
  }
  ~Activation() {
    if (outbox_.empty()) {
      if (outbox_.capacity() <= kScratchBytesMax) io_.scratch.swap(outbox_);
      std::string().swap(outbox_);
    }
    running_ = false;
    io_.active = nullptr;
  }
  Activation(const Activation&) = delete;
  Activation& operator=(const Activation&) = delete;

 private:
  static constexpr std::size_t kScratchBytesMax = 256 * 1024;  // kept between answers

  IoThread& io_;
  bool& running_;
  std::string& outbox_;
};

/// Runs `work`, then goes on as far as possible. Within the connection's own code, what called that
/// goes on.
template <typename Work>
void Connection::enter(Work&& work) {
  if (running_) {
    work();
    return;
  }
  const Activation activation(*io_, *this, running_, outbox_);
  work();
  advance();
}

/// Enters now if this is the I/O thread and no other connection is active on it, else soon.
template <typename Work>
void Connection::dispatch(Work work) {
  if (io_->is_current() && (io_->active == nullptr || running_)) {
    enter(work);
  } else {
    io_->post([keep = shared_from_this(), work = std::move(work)]() mutable { keep->enter(work); });
  }
}

}  // namespace quern::http
