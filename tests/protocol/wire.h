#pragma once
// HTTP over a bare socket, as a client with nothing to hide behind: bytes out, an answer in.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quern::protocol {

struct Answer {
  int status = 0;
  std::string reason;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;

  [[nodiscard]] std::optional<std::string> find_header(std::string_view name) const;
};

/// One connection to 127.0.0.1.
class Wire {
 public:
  explicit Wire(int port);
  ~Wire();
  Wire(Wire&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Wire& operator=(Wire&&) = delete;

  void send(std::string_view bytes);
  /// Waits until the peer has read what was sent, for 60 s at most.
  void wait_until_read() const;
  /// Reads one answer to its end, for 60 s at most; nullopt if none came. `head_only`: of a HEAD request.
  std::optional<Answer> read_answer(bool head_only);

 private:
  bool read_more(std::string& buffer);

  int fd_ = -1;
};

}  // namespace quern::protocol
