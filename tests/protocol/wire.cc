#include "wire.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>

namespace quern::protocol {
namespace {

constexpr int kPatienceSeconds = 60;

Answer parse_head(std::string_view head) {
  Answer answer;
  const std::string_view line = head.substr(0, head.find("\r\n"));
  answer.status = std::stoi(std::string(line.substr(9, 3)));
  if (line.size() > 13) answer.reason = line.substr(13);
  head.remove_prefix(line.size() + 2);
  while (!head.empty()) {
    const std::string_view field = head.substr(0, head.find("\r\n"));
    head.remove_prefix(field.size() + 2);
    const std::size_t colon = field.find(": ");
    if (colon == std::string_view::npos) throw std::runtime_error("odd header line");
    answer.headers.emplace_back(field.substr(0, colon), field.substr(colon + 2));
  }
  return answer;
}

// The body of the chunks in `text`; nullopt while the last one is missing.
std::optional<std::string> join_chunks(std::string_view text) {
  std::string body;
  for (;;) {
    const std::size_t line = text.find("\r\n");
    if (line == std::string_view::npos) return std::nullopt;
    const std::size_t bytes = std::stoul(std::string(text.substr(0, line)), nullptr, 16);
    if (text.size() < line + 2 + bytes + 2) return std::nullopt;
    if (bytes == 0) return body;
    body += text.substr(line + 2, bytes);
    text.remove_prefix(line + 2 + bytes + 2);
  }
}

int port_of(int fd, decltype(::getsockname) name) {
  sockaddr_in address{};
  socklen_t size = sizeof(address);
  return name(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 ? ntohs(address.sin_port) : 0;
}

// Of the connection from `from` to `to`: what its peer has not read, by the system's table.
bool has_unread(int from, int to) {
  const auto ends_with_port = [](const std::string& address, int port) {
    return std::stoi(address.substr(address.find(':') + 1), nullptr, 16) == port;
  };
  std::ifstream table("/proc/net/tcp");
  std::string line;
  std::getline(table, line);  // the columns' names
  while (std::getline(table, line)) {
    std::istringstream fields(line);
    std::string number, local, remote, state, queues;
    fields >> number >> local >> remote >> state >> queues;
    if (ends_with_port(local, to) && ends_with_port(remote, from))
      return !queues.ends_with(":00000000");
  }
  return true;  // not accepted yet
}

}  // namespace

std::optional<std::string> Answer::find_header(std::string_view name) const {
  for (const auto& [found, value] : headers) {
    if (found.size() == name.size() && ::strncasecmp(found.data(), name.data(), name.size()) == 0)
      return value;
  }
  return std::nullopt;
}

Wire::Wire(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const timeval patience{kPatienceSeconds, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    throw std::runtime_error("cannot connect to the server");
}

Wire::~Wire() {
  if (fd_ >= 0) ::close(fd_);
}

void Wire::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;  // refused before it was read: the answer says why
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

void Wire::wait_until_read() const {
  using Clock = std::chrono::steady_clock;
  const int from = port_of(fd_, ::getsockname);
  const int to = port_of(fd_, ::getpeername);
  const auto deadline = Clock::now() + std::chrono::seconds(kPatienceSeconds);
  while (has_unread(from, to) && Clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
}

bool Wire::read_more(std::string& buffer) {
  char bytes[16384];
  const ssize_t got = ::recv(fd_, bytes, sizeof(bytes), 0);
  if (got <= 0) return false;
  buffer.append(bytes, static_cast<std::size_t>(got));
  return true;
}

std::optional<Answer> Wire::read_answer(bool head_only) {
  std::string buffer;
  std::size_t end = 0;
  while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
    if (!read_more(buffer)) return std::nullopt;
  }
  Answer answer = parse_head(std::string_view(buffer).substr(0, end + 2));
  buffer.erase(0, end + 4);
  if (answer.status == 100) return read_answer(head_only);
  if (head_only || answer.status == 204 || answer.status == 304) return answer;
  if (answer.find_header("Transfer-Encoding")) {
    for (;;) {
      if (auto body = join_chunks(buffer)) {
        answer.body = std::move(*body);
        return answer;
      }
      if (!read_more(buffer)) return std::nullopt;
    }
  }
  const std::size_t bytes = std::stoul(answer.find_header("Content-Length").value_or("0"));
  while (buffer.size() < bytes) {
    if (!read_more(buffer)) return std::nullopt;
  }
  answer.body = buffer.substr(0, bytes);
  return answer;
}

}  // namespace quern::protocol
