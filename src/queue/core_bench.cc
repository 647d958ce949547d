// What the core costs: a submit, a claim with its finish, a look, a cancel from the middle, and its
// memory, with one or ten million tasks waiting.

#include <benchmark/benchmark.h>
#include <malloc.h>

#include <memory>
#include <vector>

#include "queue/core.h"
#include "task/task_id.h"
#include "testing/seeded_random.h"

namespace quern {
namespace {

constexpr std::uint32_t kKeys = 100;
constexpr std::uint32_t kBatch = 64;
constexpr ModelIndex kModel{0};
constexpr Now kNow{WallTime{std::chrono::seconds{1'770'000'000}},
                   SteadyTime{std::chrono::hours{1}}};

std::size_t bytes_in_use() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

/// A core with this many queued tasks of 100 keys.
class Backlog {
 public:
  explicit Backlog(std::uint64_t tasks) {
    core_.set_model(kModel, {.queued_max = 1U << 31U});
    for (std::uint32_t k = 0; k < kKeys; ++k) {
      core_.set_key(KeyIndex{k}, {.queued_max = 1U << 31U});
    }
    ids_.reserve(tasks);
    const std::size_t before = bytes_in_use();
    while (ids_.size() < tasks) submit_batch();
    bytes_ = bytes_in_use() - before;
  }

  void submit_batch() {
    for (std::uint32_t i = 0; i < kBatch; ++i) ids_.push_back(submit());
    core_.commit();
  }

  TaskId submit() {
    const TaskId id = generator_.next(kNow.wall);
    const auto key = static_cast<std::uint32_t>(random_.next_u64() % kKeys);
    benchmark::DoNotOptimize(
        core_.submit({.id = id, .key = KeyIndex{key}, .model = kModel}, kNow).has_value());
    return id;
  }

  /// Undoes the last submit_batch().
  void cancel_batch() {
    for (std::uint32_t i = 0; i < kBatch; ++i) {
      cancel(ids_.back());
      ids_.pop_back();
    }
    core_.commit();
  }

  void cancel(const TaskId& id) { benchmark::DoNotOptimize(core_.cancel(id, kNow).has_value()); }

  /// One of the queued tasks, which its caller ends.
  TaskId take_any() {
    std::swap(ids_[random_.next_u64() % ids_.size()], ids_.back());
    const TaskId id = ids_.back();
    ids_.pop_back();
    return id;
  }

  [[nodiscard]] TaskId any() { return ids_[random_.next_u64() % ids_.size()]; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  QueueCore& core() { return core_; }

 private:
  QueueCore core_;
  SeededRandom random_{1};
  TaskIdGenerator generator_{random_, 0};
  std::vector<TaskId> ids_;
  std::size_t bytes_ = 0;
};

/// Building ten million tasks takes longer than what is measured, so each size is built once.
Backlog& backlog(std::int64_t tasks) {
  static std::unique_ptr<Backlog> kept;
  static std::int64_t size = 0;
  if (size != tasks) {
    kept.reset();
    kept = std::make_unique<Backlog>(static_cast<std::uint64_t>(tasks));
    size = tasks;
  }
  return *kept;
}

void measure_memory(benchmark::State& state) {
  Backlog& tasks = backlog(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(tasks.bytes());
  state.counters["bytes_a_task"] =
      static_cast<double>(tasks.bytes()) / static_cast<double>(state.range(0));
}

void submit(benchmark::State& state) {
  Backlog& tasks = backlog(state.range(0));
  for (auto _ : state) {
    tasks.submit_batch();
    state.PauseTiming();
    tasks.cancel_batch();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}

void claim_and_finish(benchmark::State& state) {
  Backlog& tasks = backlog(state.range(0));
  std::vector<Claimed> claimed;
  for (auto _ : state) {
    claimed.clear();
    tasks.core().claim(kModel, kBatch, std::chrono::seconds{30}, kNow, claimed);
    tasks.core().commit();
    for (const Claimed& claim : claimed) {
      benchmark::DoNotOptimize(
          tasks.core().finish(claim.lease, {.end = AttemptEnd::succeeded}, kNow, 0).has_value());
    }
    tasks.core().commit();
    state.PauseTiming();
    tasks.submit_batch();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}

/// A poll of a task anywhere in the queue, with its position.
void find_queued(benchmark::State& state) {
  Backlog& tasks = backlog(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(tasks.core().find(tasks.any()));
}

void find_running(benchmark::State& state) {
  Backlog& tasks = backlog(state.range(0));
  std::vector<Claimed> claimed;
  tasks.core().claim(kModel, 16, std::chrono::seconds{30}, kNow, claimed);
  tasks.core().commit();
  std::size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(tasks.core().find(claimed[++i % claimed.size()].lease.task));
  }
}

void heartbeat(benchmark::State& state) {
  Backlog& tasks = backlog(state.range(0));
  std::vector<Claimed> claimed;
  tasks.core().claim(kModel, 16, std::chrono::seconds{30}, kNow, claimed);
  tasks.core().commit();
  std::size_t i = 0;
  for (auto _ : state) {
    const Lease& lease = claimed[++i % claimed.size()].lease;
    benchmark::DoNotOptimize(tasks.core().heartbeat(lease, 0.5, kNow).has_value());
  }
}

void cancel_anywhere(benchmark::State& state) {
  Backlog& tasks = backlog(state.range(0));
  for (auto _ : state) {
    for (std::uint32_t i = 0; i < kBatch; ++i) tasks.cancel(tasks.take_any());
    tasks.core().commit();
    state.PauseTiming();
    tasks.submit_batch();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}

// Claims come last: they end the tasks that a look would have asked for.
#define QUERN_BENCH_SIZE(tasks)                         \
  BENCHMARK(measure_memory)->Arg(tasks)->Iterations(1); \
  BENCHMARK(find_queued)->Arg(tasks);                   \
  BENCHMARK(find_running)->Arg(tasks);                  \
  BENCHMARK(heartbeat)->Arg(tasks);                     \
  BENCHMARK(submit)->Arg(tasks);                        \
  BENCHMARK(cancel_anywhere)->Arg(tasks);               \
  BENCHMARK(claim_and_finish)->Arg(tasks)

QUERN_BENCH_SIZE(1'000);
QUERN_BENCH_SIZE(1'000'000);
QUERN_BENCH_SIZE(10'000'000);

}  // namespace
}  // namespace quern
