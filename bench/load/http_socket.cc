#include "load/http_socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace bench {
namespace {

constexpr std::size_t kReadBytes = 16 * 1024;

// The value of Content-Length in a head; answers measured here all have one.
std::size_t content_length(std::string_view head) {
  static constexpr std::string_view kName = "\r\ncontent-length:";
  for (std::size_t at = head.find("\r\n"); at != std::string_view::npos;
       at = head.find("\r\n", at + 2)) {
    if (head.size() - at < kName.size()) break;
    if (::strncasecmp(head.data() + at, kName.data(), kName.size()) != 0) continue;
    return std::strtoul(head.data() + at + kName.size(), nullptr, 10);
  }
  return 0;
}

}  // namespace

void fail(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

std::uint16_t port_of(const std::string& url) {
  const std::size_t colon = url.rfind(':');
  return static_cast<std::uint16_t>(std::strtoul(url.c_str() + colon + 1, nullptr, 10));
}

HttpSocket::~HttpSocket() {
  if (fd_ >= 0) ::close(fd_);
}

HttpSocket::HttpSocket(HttpSocket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      out_(std::move(other.out_)),
      in_(std::move(other.in_)),
      taken_(other.taken_) {}

void HttpSocket::connect(std::uint16_t port) {
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd_ < 0) fail("socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    fail("connect");
  const int on = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

bool HttpSocket::send(std::string_view request) {
  out_.append(request);
  return flush();
}

bool HttpSocket::flush() {
  while (!out_.empty()) {
    const ssize_t sent = ::send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EAGAIN) return false;
    if (sent < 0) fail("send");
    out_.erase(0, static_cast<std::size_t>(sent));
  }
  return true;
}

void HttpSocket::fill() {
  char buffer[kReadBytes];
  ssize_t got = 0;
  do {
    got = ::recv(fd_, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (got == 0) errno = ECONNRESET;
    if (got == 0 || (got < 0 && errno != EAGAIN)) fail("receive");
    if (got > 0) in_.append(buffer, static_cast<std::size_t>(got));
  } while (got == static_cast<ssize_t>(sizeof(buffer)));
}

std::optional<Answer> HttpSocket::receive() {
  in_.erase(0, std::exchange(taken_, 0));
  fill();
  const std::string_view bytes = in_;
  const std::size_t end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos) return std::nullopt;
  const std::size_t body = end + 4;
  const std::size_t length = content_length(bytes.substr(0, end + 2));
  if (bytes.size() < body + length) return std::nullopt;
  Answer answer;
  if (bytes.size() > 12) std::from_chars(bytes.data() + 9, bytes.data() + 12, answer.status);
  answer.body = bytes.substr(body, length);
  taken_ = body + length;
  return answer;
}

bool HttpSocket::is_closed() const {
  char byte = 0;
  const ssize_t got = ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got == 0 || (got < 0 && errno != EAGAIN);
}

}  // namespace bench
