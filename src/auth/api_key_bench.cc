#include <benchmark/benchmark.h>

#include "auth/api_key.h"

namespace quern {
namespace {

void authenticate(benchmark::State& state) {
  std::vector<ApiKey> keys(static_cast<std::size_t>(state.range(0)));
  std::vector<std::string> headers;
  SystemRandom random;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const std::string secret = make_secret(random);
    keys[i].id = std::to_string(i);
    keys[i].secrets = {sha256(secret)};
    headers.push_back("Key " + secret);
  }
  const auto ring = KeyRing::make(std::move(keys)).value();

  std::size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(ring->authenticate(headers[next]).key);
    next = (next + 7919) % headers.size();
  }
}
BENCHMARK(authenticate)->Arg(1)->Arg(100)->Arg(10'000);

void digest_of_a_secret(benchmark::State& state) {
  SystemRandom random;
  const std::string secret = make_secret(random);
  for (auto _ : state) benchmark::DoNotOptimize(sha256(secret));
}
BENCHMARK(digest_of_a_secret);

}  // namespace
}  // namespace quern
