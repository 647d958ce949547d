// quern_bench_idle --url URL --connections N: holds N keep-alive connections that have had one
// answer each. Prints "ready" once they stand, waits for the end of its input, then prints how many
// are still open.

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "load/flags.h"
#include "load/http_socket.h"

namespace {

void ask_once(bench::HttpSocket& socket) {
  socket.send("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
  for (;;) {
    pollfd ready{socket.fd(), POLLIN, 0};
    if (::poll(&ready, 1, 10'000) != 1) bench::fail("no answer within 10 s");
    if (const auto answer = socket.receive()) return;
  }
}

void wait_for_end_of_input() {
  char bytes[64];
  while (::read(STDIN_FILENO, bytes, sizeof(bytes)) > 0) {
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Flags flags(argc, argv);
  const std::uint16_t port = bench::port_of(flags.text("--url"));
  std::vector<bench::HttpSocket> sockets(static_cast<std::size_t>(flags.number("--connections")));
  for (bench::HttpSocket& socket : sockets) {
    socket.connect(port);
    ask_once(socket);
  }
  std::puts("ready");
  std::fflush(stdout);
  wait_for_end_of_input();
  const auto closed = std::ranges::count_if(sockets, &bench::HttpSocket::is_closed);
  std::printf("{\"open\":%zu}\n", sockets.size() - static_cast<std::size_t>(closed));
}
