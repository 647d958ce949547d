#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "limit/rate_limiter.h"

namespace quern {
namespace {

void take(benchmark::State& state) {
  RateLimiter limiter;
  const RateLimit limit{.rate = 1e9, .burst = 1e9};
  std::vector<std::string> keys;
  for (std::int64_t i = 0; i < state.range(0); ++i) keys.push_back("key-" + std::to_string(i));
  std::size_t next = 0;
  SteadyTime now{};
  for (auto _ : state) {
    now += std::chrono::microseconds{1};
    benchmark::DoNotOptimize(limiter.take(keys[next], limit, now));
    next = (next + 7919) % keys.size();
  }
}
BENCHMARK(take)->Arg(1)->Arg(10'000);

}  // namespace
}  // namespace quern
