#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "base/json.h"

namespace quern {
namespace {

void parse_members(benchmark::State& state) {
  std::string text;
  for (int i = 0; i < state.range(0); ++i)
    text += fmt::format("{}\"member_{}\":{}", i == 0 ? '{' : ',', i, i);
  text += '}';
  for (auto _ : state) benchmark::DoNotOptimize(parse_json(text));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}
// Up to 18 members are searched without a hash.
BENCHMARK(parse_members)->Arg(4)->Arg(18)->Arg(100)->Arg(10'000);

}  // namespace
}  // namespace quern
