#include <benchmark/benchmark.h>

#include "api/task_json.h"

namespace quern::api {
namespace {

const TaskPlace kPlace{.dialect = Dialect::queue,
                       .endpoint = "https://queue.example.com/v1/queue/speech",
                       .base_bytes = 25};

void encode(benchmark::State& bench, const TaskView& view) {
  for (auto _ : bench) benchmark::DoNotOptimize(status_json(kPlace, view, false));
}

void encode_queued(benchmark::State& bench) {
  encode(bench, {.model = "speech", .state = TaskState::queued, .position = 1234, .eta = 61.5});
}
BENCHMARK(encode_queued);

void encode_running(benchmark::State& bench) {
  encode(bench, {.model = "speech", .state = TaskState::running, .progress = 0.25});
}
BENCHMARK(encode_running);

void encode_succeeded(benchmark::State& bench) {
  encode(bench, {.model = "speech",
                 .state = TaskState::succeeded,
                 .run_time = std::chrono::microseconds{1'234'567}});
}
BENCHMARK(encode_succeeded);

}  // namespace
}  // namespace quern::api
