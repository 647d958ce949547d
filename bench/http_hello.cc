// The HTTP server alone: answers every request with the same 200 bytes of JSON, to be compared with
// a web server that does no work either.
//
//   http_hello [ADDRESS [THREADS]]      127.0.0.1:8080 and one thread by default; ends on SIGINT or
//   SIGTERM

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "base/metrics.h"
#include "http/server.h"

namespace {

constexpr std::size_t kBodyBytes = 200;

quern::http::Response make_answer() {
  quern::http::Response response;
  response.add_header("Content-Type", "application/json");
  response.body = R"({"status":"IN_QUEUE","padding":")";
  response.body.append(kBodyBytes - response.body.size() - 2, 'x').append("\"}");
  return response;
}

}  // namespace

int main(int argc, char** argv) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  quern::Metrics metrics;
  quern::http::ServerOptions options;
  if (argc > 1) options.listen = argv[1];
  options.threads = argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 1;
  const auto handler = [answer = make_answer()](quern::http::Exchange exchange) {
    std::move(exchange).send(answer);
  };
  quern::http::Server server(std::move(options), handler, metrics);
  if (const auto started = server.start(); !started) {
    std::fprintf(stderr, "%s\n", started.error().message.c_str());
    return 1;
  }
  std::printf("listening on %s\n", server.url().c_str());
  std::fflush(stdout);
  int signal = 0;
  sigwait(&signals, &signal);
  server.stop();
}
