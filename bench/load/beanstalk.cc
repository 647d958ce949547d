// quern_bench_beanstalk --port N --connections N --seconds N --body TEXT --life 0|1: what beanstalkd takes over
// its own protocol. With --life 0 each connection puts jobs that nobody reserves; with 1 it puts one, reserves
// one and deletes it, again and again. Prints one line of JSON at the end.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "load/flags.h"
#include "load/http_socket.h"
#include "load/timing.h"

namespace {

constexpr int kEventsMax = 256;

struct Client {
  int fd = -1;
  std::string in;
  std::int64_t asked = 0;  // when the put was sent
};

struct Totals {
  std::uint64_t put = 0;
  std::uint64_t deleted = 0;
  std::vector<std::int64_t> put_times;
};

// The job id in "RESERVED 17 165".
std::string_view id_of(std::string_view line) {
  line.remove_prefix(line.find(' ') + 1);
  return line.substr(0, line.find(' '));
}

class Load {
 public:
  explicit Load(const bench::Flags& flags)
      : port_(static_cast<std::uint16_t>(flags.number("--port"))),
        is_life_(flags.number("--life") != 0),
        clients_(static_cast<std::size_t>(flags.number("--connections"))) {
    const std::string body = flags.text("--body");
    put_ = "put 1024 0 3600 " + std::to_string(body.size()) + "\r\n" + body + "\r\n";
  }

  void run(double seconds) {
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) bench::fail("epoll_create1");
    for (Client& client : clients_) connect(client);
    const std::int64_t begun = bench::now_ns();
    const std::int64_t end = begun + static_cast<std::int64_t>(seconds * 1e9);
    while (bench::now_ns() < end) step();
    const double took = static_cast<double>(bench::now_ns() - begun) / 1e9;
    std::printf("{\"seconds\":%.3f,\"put\":%llu,\"finished\":%llu,\"put_p99_ms\":%.3f}\n", took,
                static_cast<unsigned long long>(totals_.put),
                static_cast<unsigned long long>(totals_.deleted),
                bench::percentile_ms(totals_.put_times, 0.99));
  }

 private:
  void connect(Client& client) {
    client.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(client.fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
      bench::fail("connect");
    const int on = 1;
    ::setsockopt(client.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &client;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, client.fd, &event) != 0) bench::fail("epoll_ctl");
    // Jobs that nobody reserves stand apart from those that live.
    send(client, is_life_ ? "watch life\r\nuse life\r\n" : "use hold\r\n");
  }

  static void send(const Client& client, std::string_view words) {
    if (::send(client.fd, words.data(), words.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(words.size()))
      bench::fail("send");
  }

  void step() {
    std::array<epoll_event, kEventsMax> events{};
    const int count = ::epoll_wait(epoll_, events.data(), kEventsMax, 100);
    for (int i = 0; i < count; ++i)
      read(*static_cast<Client*>(events[static_cast<std::size_t>(i)].data.ptr));
  }

  void read(Client& client) {
    std::array<char, 4096> buffer{};
    const ssize_t got = ::recv(client.fd, buffer.data(), buffer.size(), 0);
    if (got <= 0) bench::fail("receive");
    client.in.append(buffer.data(), static_cast<std::size_t>(got));
    for (std::size_t end = client.in.find("\r\n"); end != std::string::npos;
         end = client.in.find("\r\n")) {
      const std::string line = client.in.substr(0, end);
      client.in.erase(0, end + 2);
      on_line(client, line);
    }
  }

  // A reserved job's body comes as a line of its own, which asks for nothing.
  void on_line(Client& client, std::string_view line) {
    if (line.starts_with("USING")) return put(client);
    if (line.starts_with("INSERTED")) {
      ++totals_.put;
      totals_.put_times.push_back(bench::now_ns() - client.asked);
      return is_life_ ? send(client, "reserve\r\n") : put(client);
    }
    if (line.starts_with("RESERVED"))
      return send(client, "delete " + std::string(id_of(line)) + "\r\n");
    if (line.starts_with("DELETED")) {
      ++totals_.deleted;
      return put(client);
    }
    if (!line.starts_with("WATCHING") && !line.starts_with('{')) {
      std::fprintf(stderr, "beanstalkd said: %.*s\n", static_cast<int>(line.size()), line.data());
      std::exit(1);
    }
  }

  void put(Client& client) {
    client.asked = bench::now_ns();
    send(client, put_);
  }

  std::uint16_t port_;
  bool is_life_;
  std::string put_;
  std::vector<Client> clients_;
  Totals totals_;
  int epoll_ = -1;
};

}  // namespace

int main(int argc, char** argv) {
  const bench::Flags flags(argc, argv);
  Load(flags).run(flags.number("--seconds"));
}
