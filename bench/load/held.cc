// quern_bench_held --url URL --requests FILE --connections N: holds N connections, each with one
// request of the file (method, path, key, body; by tabs) whose answer is held open: an event stream,
// or ?wait=. An answer that came is asked for again, unless its connection is to close.
//
// Prints "ready" once all are asked, waits for the end of its input or until the server has ended
// them all, then prints how many are open, how many the server ended in good order and how many not,
// and how many events and answers came.

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "load/flags.h"
#include "load/http_socket.h"

namespace {

constexpr std::string_view kEvent = "data: ";
constexpr std::string_view kLastChunk = "\r\n0\r\n\r\n";

std::vector<std::string> read_requests(const std::string& file) {
  std::vector<std::string> requests;
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string method;
    std::string path;
    std::string key;
    std::getline(fields, method, '\t');
    std::getline(fields, path, '\t');
    std::getline(fields, key, '\t');
    requests.push_back(method + " " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Key " +
                       key + "\r\n\r\n");
  }
  if (requests.empty()) bench::fail("no requests");
  return requests;
}

struct Counts {
  std::size_t events = 0;
  std::size_t answers = 0;
  std::size_t ended = 0;   // by the server, after a whole answer
  std::size_t broken = 0;  // in the middle of one
};

// One connection and what of its answer is not yet understood.
class Held {
 public:
  void open(std::uint16_t port, std::string_view request) {
    request_ = request;
    socket_.connect(port);
    ask();
  }
  [[nodiscard]] int fd() const { return socket_.fd(); }

  // False: the connection is over.
  bool read(Counts& counts) {
    static std::array<char, 64 * 1024> buffer;
    const ssize_t got = ::recv(fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return true;
    if (got <= 0) {
      ++(is_whole_ ? counts.ended : counts.broken);
      return false;
    }
    in_.append(buffer.data(), static_cast<std::size_t>(got));
    if (!understand_head()) return true;
    if (is_stream_)
      take_events(counts);
    else
      take_answer(counts);
    return true;
  }

 private:
  void ask() {
    is_whole_ = false;
    has_head_ = false;
    if (!socket_.send(request_)) bench::fail("a request did not fit");
  }

  bool understand_head() {
    if (has_head_) return true;
    const std::size_t end = in_.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    const std::string head = in_.substr(0, end + 2);
    if (head.compare(9, 3, "200") != 0 && head.compare(9, 3, "202") != 0) {
      std::fprintf(stderr, "%s\n", head.c_str());
      std::exit(1);
    }
    is_stream_ = head.find("text/event-stream") != std::string::npos;
    closes_ = head.find("Connection: close") != std::string::npos;
    if (const std::size_t at = head.find("Content-Length: "); at != std::string::npos)
      body_bytes_ = std::strtoul(head.c_str() + at + 16, nullptr, 10);
    in_.erase(0, end + 4);
    has_head_ = true;
    return true;
  }

  // An event may come in pieces: what could be the beginning of one is kept.
  void take_events(Counts& counts) {
    std::size_t from = 0;
    for (std::size_t at = in_.find(kEvent); at != std::string::npos; at = in_.find(kEvent, from)) {
      ++counts.events;
      from = at + kEvent.size();
    }
    is_whole_ = in_.ends_with(kLastChunk);
    const std::size_t keep = std::min(in_.size() - from, kLastChunk.size() - 1);
    in_.erase(0, in_.size() - keep);
  }

  void take_answer(Counts& counts) {
    if (in_.size() < body_bytes_) return;
    in_.clear();
    ++counts.answers;
    if (closes_)
      is_whole_ = true;
    else
      ask();
  }

  bench::HttpSocket socket_;
  std::string_view request_;
  std::string in_;
  std::size_t body_bytes_ = 0;
  bool has_head_ = false;
  bool is_stream_ = false;
  bool closes_ = false;
  bool is_whole_ = false;
};

void watch(int epoll, int fd, std::uint64_t number) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = number;
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) bench::fail("epoll");
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Flags flags(argc, argv);
  const std::uint16_t port = bench::port_of(flags.text("--url"));
  const std::vector<std::string> requests = read_requests(flags.text("--requests"));
  std::vector<Held> held(static_cast<std::size_t>(flags.number("--connections")));
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  for (std::size_t i = 0; i < held.size(); ++i) {
    held[i].open(port, requests[i % requests.size()]);
    watch(epoll, held[i].fd(), i);
  }
  watch(epoll, STDIN_FILENO, held.size());
  std::puts("ready");
  std::fflush(stdout);

  Counts counts;
  std::array<epoll_event, 512> events;
  for (bool goes_on = true; goes_on && counts.ended + counts.broken < held.size();) {
    const int ready = ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < ready; ++i) {
      const std::uint64_t number = events[static_cast<std::size_t>(i)].data.u64;
      if (number == held.size())
        goes_on = false;
      else if (!held[number].read(counts))
        ::epoll_ctl(epoll, EPOLL_CTL_DEL, held[number].fd(), nullptr);
    }
  }
  std::printf(R"({"open":%zu,"ended":%zu,"broken":%zu,"events":%zu,"answers":%zu})"
              "\n",
              held.size() - counts.ended - counts.broken, counts.ended, counts.broken,
              counts.events, counts.answers);
}
