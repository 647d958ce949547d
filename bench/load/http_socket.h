#pragma once
// The client side of one keep-alive connection over loopback, without blocking: whole requests out,
// whole answers in. Only what the servers measured here send is understood: Content-Length, no
// chunks.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bench {

struct Answer {
  unsigned status = 0;
  std::string_view body;  // lives until the next call on the socket
};

class HttpSocket {
 public:
  HttpSocket() = default;
  ~HttpSocket();
  HttpSocket(HttpSocket&& other) noexcept;
  HttpSocket& operator=(HttpSocket&&) = delete;

  /// Ends the program with a message if nobody listens there.
  void connect(std::uint16_t port);
  [[nodiscard]] int fd() const { return fd_; }

  /// The buffer is empty before a request is put in. Returns false while a part could not be sent
  /// yet: call flush() once the socket is writable.
  bool send(std::string_view request);
  bool flush();
  /// Takes in all that has arrived, so that readiness may be told by the edge. nullopt: not complete
  /// yet. Ends the program if the peer closed or made no sense.
  std::optional<Answer> receive();
  /// Whether the peer has closed this idle connection.
  [[nodiscard]] bool is_closed() const;

 private:
  void fill();

  int fd_ = -1;
  std::string out_;
  std::string in_;
  std::size_t taken_ = 0;  // bytes of the answer handed out last
};

/// The port of "http://127.0.0.1:40123".
std::uint16_t port_of(const std::string& url);

/// Ends the program, telling what failed and errno's reason.
[[noreturn]] void fail(const char* what);

}  // namespace bench
