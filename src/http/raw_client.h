#pragma once
// For tests: a server with a handler of the test's own, and a client that sends any bytes it is
// told to.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <future>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "base/metrics.h"
#include "http/server.h"

namespace quern::http {

/// Long enough for a loaded machine under a sanitizer; a test that waits so long has failed.
inline constexpr std::chrono::seconds kTestWait{20};

struct RawAnswer {
  unsigned status = 0;  // 0: the connection ended first
  std::map<std::string, std::string> headers;
  std::string body;

  [[nodiscard]] std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

/// A blocking socket to 127.0.0.1. Every wait is bounded.
class RawClient {
 public:
  explicit RawClient(std::uint16_t port, int receive_buffer = 0) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval wait{.tv_sec = kTestWait.count(), .tv_usec = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    if (receive_buffer > 0) {
      ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  RawClient(RawClient&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)),
        connected_(other.connected_),
        buffer_(std::move(other.buffer_)) {}
  ~RawClient() { close(); }

  [[nodiscard]] bool is_connected() const { return connected_; }
  [[nodiscard]] int fd() const { return fd_; }

  /// False once the peer does not take more.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  void end_sending() { ::shutdown(fd_, SHUT_WR); }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  /// Ends with a reset instead of an orderly end.
  void reset() {
    const linger hard{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close();
  }

  /// What comes up to and with `end`; less if the peer ends first.
  std::string read_until(std::string_view end) {
    std::size_t found;
    while ((found = buffer_.find(end)) == std::string::npos) {
      if (!receive()) return std::exchange(buffer_, {});
    }
    return take(found + end.size());
  }
  std::string read_bytes(std::size_t bytes) {
    while (buffer_.size() < bytes) {
      if (!receive()) break;
    }
    return take(std::min(bytes, buffer_.size()));
  }
  /// Everything until the peer ends its side.
  std::string read_to_end() {
    while (receive()) {
    }
    return std::exchange(buffer_, {});
  }
  /// Whether the peer has ended the connection (in an orderly way) with nothing more to read.
  bool is_ended() {
    char byte = 0;
    return buffer_.empty() && ::recv(fd_, &byte, 1, 0) == 0;
  }

  /// Reads one answer; `head_only` for the answer to a HEAD.
  RawAnswer read_answer(bool head_only = false) {
    RawAnswer answer;
    const std::string head = read_until("\r\n\r\n");
    if (!head.starts_with("HTTP/1.1 ")) return answer;
    answer.status = static_cast<unsigned>(std::stoul(head.substr(9, 3)));
    parse_headers(head, answer);
    if (head_only) return answer;
    if (answer.header("Transfer-Encoding") == "chunked") {
      read_chunks(answer.body);
    } else if (!answer.header("Content-Length").empty()) {
      answer.body = read_bytes(std::stoul(answer.header("Content-Length")));
    }
    return answer;
  }
  RawAnswer ask(std::string_view request) {
    send(request);
    return read_answer();
  }
  /// The payload of the next chunk; empty at the last.
  std::string read_chunk() {
    const std::string line = read_until("\r\n");
    std::size_t size = 0;
    std::from_chars(line.data(), line.data() + line.size(), size, 16);
    const std::string chunk = read_bytes(size + 2);
    return chunk.substr(0, std::min(size, chunk.size()));
  }

 private:
  static void parse_headers(std::string_view head, RawAnswer& answer) {
    std::size_t line = head.find("\r\n") + 2;
    while (line + 2 < head.size()) {
      const std::size_t end = head.find("\r\n", line);
      const std::size_t colon = head.find(": ", line);
      answer.headers.emplace(head.substr(line, colon - line),
                             head.substr(colon + 2, end - colon - 2));
      line = end + 2;
    }
  }
  void read_chunks(std::string& body) {
    for (std::string chunk = read_chunk(); !chunk.empty(); chunk = read_chunk()) body += chunk;
  }
  bool receive() {
    char bytes[65536];
    const ssize_t got = ::recv(fd_, bytes, sizeof bytes, 0);
    if (got <= 0) return false;
    buffer_.append(bytes, static_cast<std::size_t>(got));
    return true;
  }
  std::string take(std::size_t bytes) {
    std::string taken = buffer_.substr(0, bytes);
    buffer_.erase(0, bytes);
    return taken;
  }

  int fd_ = -1;
  bool connected_ = false;
  std::string buffer_;
};

/// A started server on a free port, with options fit for tests.
class TestServer {
 public:
  explicit TestServer(Handler handler, ServerOptions options = {})
      : server_(prepare(std::move(options)), std::move(handler), metrics_) {
    const auto started = server_.start();
    EXPECT_TRUE(started.has_value()) << (started ? "" : started.error().message);
    const std::string url = server_.url();
    port_ = static_cast<std::uint16_t>(std::stoul("0" + url.substr(url.rfind(':') + 1)));
  }

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] RawClient connect(int receive_buffer = 0) const {
    return RawClient(port_, receive_buffer);
  }
  Server& operator*() { return server_; }
  Server* operator->() { return &server_; }
  Metrics& metrics() { return metrics_; }

 private:
  static ServerOptions prepare(ServerOptions options) {
    options.listen = "127.0.0.1:0";
    if (options.threads == 0) options.threads = 2;
    return options;
  }

  Metrics metrics_;
  Server server_;
  std::uint16_t port_ = 0;
};

/// An event that one thread waits for and another brings about, at most once.
class Signal {
 public:
  void set() { promise_.set_value(); }
  [[nodiscard]] bool wait() { return future_.wait_for(kTestWait) == std::future_status::ready; }

 private:
  std::promise<void> promise_;
  std::future<void> future_ = promise_.get_future();
};

inline Response text_response(std::string body) {
  Response response;
  response.add_header("Content-Type", "text/plain");
  response.body = std::move(body);
  return response;
}

inline constexpr std::uint64_t kEchoBodyMax = 1 << 20;

/// Answers with the method, the target and the body.
inline void echo(Exchange exchange) {
  std::move(exchange).read_body(kEchoBodyMax, [](Exchange read, Result<void> result) {
    if (!result) {
      Response refused = text_response(result.error().message);
      refused.status = result.error().code == ErrorCode::unavailable ? 503 : 413;
      return std::move(read).send(std::move(refused));
    }
    const Request& request = read.request();
    Response response =
        text_response(std::string(request.method_name) + " " + std::string(request.target) + " " +
                      std::string(request.body));
    std::move(read).send(std::move(response));
  });
}

/// Answers without looking at the body.
inline void ignore(Exchange exchange) { std::move(exchange).send(text_response("ignored")); }

inline std::string get(std::string_view target, std::string_view headers = "") {
  return "GET " + std::string(target) + " HTTP/1.1\r\nHost: h\r\n" + std::string(headers) + "\r\n";
}

inline std::string post(std::string_view target, std::string_view body,
                        std::string_view headers = "") {
  return "POST " + std::string(target) +
         " HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         std::string(headers) + "\r\n" + std::string(body);
}

inline std::string make_text(std::size_t bytes) {
  std::string text(bytes, ' ');
  for (std::size_t i = 0; i < bytes; ++i)
    text[i] = static_cast<char>('a' + i * 7 % 26 + i / 997 % 3);
  return text;
}

/// Waits for what other threads bring about, without sleeping. False if it took too long.
template <typename Condition>
bool eventually(Condition condition) {
  const auto give_up = std::chrono::steady_clock::now() + kTestWait;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace quern::http
