#include <benchmark/benchmark.h>

#include "http/head_parser.h"

namespace quern::http {
namespace {

// What an ordinary client library sends with a poll.
constexpr std::string_view kHead =
    "GET /v1/queue/speech/requests/mmsu_01kafp5x6q8v2t3w4y5z6a7b8c/status?logs=1 HTTP/1.1\r\n"
    "Host: queue.example.com\r\n"
    "User-Agent: python-httpx/0.28.1\r\n"
    "Accept: */*\r\n"
    "Accept-Encoding: gzip, deflate\r\n"
    "Connection: keep-alive\r\n"
    "Authorization: Key qk_4f9d2c7b81e64a0f9b3d5c6e7f8a9b0c\r\n"
    "\r\n";

void decode_head(benchmark::State& state) {
  constexpr std::size_t kHeadBytesMax = 16 * 1024;
  HeadScanner scanner;
  RequestHead head;
  for (auto _ : state) {
    scanner.reset();
    benchmark::DoNotOptimize(scanner.scan(kHead, kHeadBytesMax));
    benchmark::DoNotOptimize(parse_head(kHead.substr(0, scanner.end()), head));
    benchmark::DoNotOptimize(head.request.path.data());
  }
}
BENCHMARK(decode_head);

}  // namespace
}  // namespace quern::http
