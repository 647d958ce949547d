#include <benchmark/benchmark.h>

#include "catalog/schema.h"

namespace quern {
namespace {

std::shared_ptr<const Schema> make_schema() {
  return Schema::compile(
             parse_json(R"({"type":"object","required":["prompt"],"additionalProperties":false,
      "properties":{"prompt":{"type":"string","minLength":1,"maxLength":1000},
                    "num_images":{"type":"integer","minimum":1,"maximum":4,"default":1},
                    "size":{"enum":["square","portrait","landscape"],"default":"square"}}})")
                 .value()
                 .as_object())
      .value();
}

void check(benchmark::State& state, std::string_view input) {
  const auto schema = make_schema();
  const json::value value = parse_json(input).value();
  for (auto _ : state) benchmark::DoNotOptimize(schema->check(value.get_object()));
}
BENCHMARK_CAPTURE(check, three_properties,
                  R"({"prompt":"a cat on a mat","num_images":2,"size":"landscape"})");
BENCHMARK_CAPTURE(check, three_faults, R"({"promt":"a cat on a mat","num_images":7})");

void parse_and_fill(benchmark::State& state) {
  const auto schema = make_schema();
  for (auto _ : state) {
    json::value value = parse_json(R"({"prompt":"a cat on a mat"})").value();
    benchmark::DoNotOptimize(schema->fill_defaults(value.get_object()).has_value());
    benchmark::DoNotOptimize(value);
  }
}
BENCHMARK(parse_and_fill);

void parse(benchmark::State& state) {
  const std::string text = R"({"prompt":")" +
                           std::string(static_cast<std::size_t>(state.range(0)), 'x') +
                           R"(","num_images":2,"size":"landscape","guidance_scale":3.5,"seed":42})";
  for (auto _ : state) benchmark::DoNotOptimize(parse_json(text));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}
BENCHMARK(parse)->Arg(100)->Arg(1'000'000);

}  // namespace
}  // namespace quern
