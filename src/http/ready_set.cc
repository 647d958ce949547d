#include "http/ready_set.h"

#include <algorithm>
#include <cerrno>
#include <exception>
#include <system_error>

#include "base/assert.h"
#include "base/log.h"

namespace quern::http {
namespace {

int make_set() {
  const int set = ::epoll_create1(EPOLL_CLOEXEC);
  if (set < 0) throw std::system_error(errno, std::system_category(), "epoll_create1");
  return set;
}

}  // namespace

ReadySet::ReadySet(boost::asio::io_context& context) : set_(context, make_set()) { await(); }

bool ReadySet::add(int socket, Member& member) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = &member;
  if (::epoll_ctl(set_.native_handle(), EPOLL_CTL_ADD, socket, &event) != 0) return false;
  ++members_;
  return true;
}

void ReadySet::remove(int socket, const Member& member) {
  if (::epoll_ctl(set_.native_handle(), EPOLL_CTL_DEL, socket, nullptr) == 0) --members_;
  for (std::size_t i = next_; i < count_; ++i) {
    if (events_[i].data.ptr == &member) events_[i].data.ptr = nullptr;
  }
}

void ReadySet::tell_all() {
  // Those that become ready meanwhile must not keep it here.
  for (std::size_t left = members_ / kBatch + 1; left > 0 && tell() == kBatch; --left) {
  }
}

void ReadySet::finish() {
  is_finished_ = true;  // the wait may be over already, and its handler about to run
  set_.cancel();
}

void ReadySet::await() {
  set_.async_wait(boost::asio::posix::descriptor_base::wait_read,
                  [this](boost::system::error_code error) {
                    if (error || is_finished_) return;
                    tell();
                    await();
                  });
}

std::size_t ReadySet::tell() {
  QUERN_ASSERT(next_ == count_);
  const int found =
      ::epoll_wait(set_.native_handle(), events_.data(), static_cast<int>(events_.size()), 0);
  next_ = 0;
  count_ = static_cast<std::size_t>(std::max(found, 0));
  while (next_ < count_) {
    const epoll_event& event = events_[next_++];
    if (event.data.ptr == nullptr) continue;
    try {
      static_cast<Member*>(event.data.ptr)->on_ready(event.events);
    } catch (const std::exception& error) {
      log_error("An I/O thread caught an exception", {{"what", error.what()}});
    }
  }
  return count_;
}

}  // namespace quern::http
