#pragma once
// An HTTP server that answers by path, as often as it is asked, many connections at once: the
// internet of a test. Loopback only.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/assert.h"

namespace quern {

/// A whole answer: `status` is code and phrase.
inline std::string http_answer(std::string_view status, std::string_view body) {
  return "HTTP/1.1 " + std::string(status) +
         "\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         std::string(body);
}

inline std::string http_redirect(std::string_view location) {
  return "HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\nLocation: " +
         std::string(location) + "\r\n\r\n";
}

/// Threads: any.
class PathServer {
 public:
  explicit PathServer(const char* address = "127.0.0.1") : host_(address) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in place{};
    place.sin_family = AF_INET;
    QUERN_ASSERT(::inet_pton(AF_INET, address, &place.sin_addr) == 1);
    QUERN_ASSERT(::bind(listener_, reinterpret_cast<sockaddr*>(&place), sizeof(place)) == 0);
    QUERN_ASSERT(::listen(listener_, 64) == 0);
    socklen_t size = sizeof(place);
    QUERN_ASSERT(::getsockname(listener_, reinterpret_cast<sockaddr*>(&place), &size) == 0);
    port_ = ntohs(place.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~PathServer() {
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    ::close(listener_);
  }
  PathServer(const PathServer&) = delete;
  PathServer& operator=(const PathServer&) = delete;

  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] std::string url(std::string_view path) const {
    return "http://" + host_ + ":" + std::to_string(port_) + std::string(path);
  }

  /// A path without an answer is a 404.
  void answer(const std::string& path, std::string bytes) {
    set(path, {.bytes = std::move(bytes), .hangs = false});
  }
  /// Sends `bytes`, then nothing more until the client goes.
  void hang(const std::string& path, std::string bytes = {}) {
    set(path, {.bytes = std::move(bytes), .hangs = true});
  }

  [[nodiscard]] std::vector<std::string> request_heads() const {
    const std::scoped_lock lock(mutex_);
    return heads_;
  }
  void wait_for_request() {
    std::unique_lock lock(mutex_);
    asked_.wait(lock, [this] { return !heads_.empty(); });
  }

 private:
  struct Answer {
    std::string bytes;
    bool hangs = false;
  };

  void set(const std::string& path, Answer answer) {
    const std::scoped_lock lock(mutex_);
    answers_[path] = std::move(answer);
  }

  void accept_all() {
    std::vector<std::jthread> peers;
    for (int peer = 0; (peer = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
      peers.emplace_back([this, peer] { serve(peer); });
    }
  }

  void serve(int peer) {
    std::string head;
    char buffer[4096];
    while (head.find("\r\n\r\n") == std::string::npos) {
      const ssize_t got = ::read(peer, buffer, sizeof(buffer));
      if (got <= 0) break;
      head.append(buffer, static_cast<std::size_t>(got));
    }
    const Answer answer = find(head);
    send_all(peer, answer.bytes);
    while (answer.hangs && ::read(peer, buffer, sizeof(buffer)) > 0) {
    }
    ::close(peer);
  }

  Answer find(const std::string& head) {
    const std::size_t begin = head.find(' ') + 1;
    const std::string path = head.substr(begin, head.find(' ', begin) - begin);
    const std::scoped_lock lock(mutex_);
    heads_.push_back(head);
    asked_.notify_all();
    const auto found = answers_.find(path);
    return found != answers_.end() ? found->second : Answer{http_answer("404 Not Found", "gone")};
  }

  static void send_all(int peer, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(peer, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }

  std::string host_;
  int listener_ = -1;
  int port_ = 0;
  mutable std::mutex mutex_;  // guards answers_ and heads_
  std::condition_variable asked_;
  std::map<std::string, Answer> answers_;
  std::vector<std::string> heads_;
  std::thread acceptor_;
};

}  // namespace quern
