// How many durable submits, polls and finishes a second: a few threads keep so many calls under way
// each, as a server's connections do. `items_per_second` is what counts, and the processor time of all
// threads; p50 and p99 are in microseconds.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "queue/local/local_queue.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

using Steady = std::chrono::steady_clock;

/// The first model is `echo`.
std::string model_name(std::size_t index) {
  return index == 0 ? "echo" : "echo" + std::to_string(index);
}

/// A queue in a temporary folder that serves one model, or a few.
class Bench {
 public:
  explicit Bench(std::size_t models = 1, LocalQueueOptions options = {})
      : models_(models), options_(std::move(options)) {
    open();
    configure();
  }
  void open() {
    queue_.reset();
    options_.folder = folder_.path();
    queue_ = LocalQueue::open(options_, clock_, random_, metrics_).value();
    queue_->start();
  }
  /// Also ends a recovery.
  void configure() {
    QueuePolicy policy;
    for (std::size_t i = 0; i < models_; ++i) {
      policy.models.push_back({.id = model_name(i), .queued_max = 1'000'000'000});
    }
    policy.keys.push_back({.id = "ada", .queued_max = 1'000'000'000});
    std::mutex mutex;
    std::condition_variable done;
    bool is_done = false;
    queue_->configure(std::move(policy), [&](Result<bool>) {
      const std::scoped_lock lock(mutex);
      is_done = true;
      done.notify_one();
    });
    std::unique_lock lock(mutex);
    done.wait(lock, [&] { return is_done; });
  }
  LocalQueue& queue() { return *queue_; }

 private:
  std::size_t models_;
  LocalQueueOptions options_;
  TempFolder folder_;
  SystemClock clock_;
  SystemRandom random_;
  Metrics metrics_;
  std::unique_ptr<LocalQueue> queue_;
};

/// Keeps `width` calls under way until `count` have been answered.
class Flight {
 public:
  using Call = std::function<void(std::move_only_function<void()> done)>;
  Flight(Call call, std::size_t width, std::size_t count)
      : call_(std::move(call)), left_(count), width_(width) {
    latencies_.reserve(count);
  }

  void run() {
    std::unique_lock lock(mutex_);
    while (answered_ < latencies_.capacity()) {
      while (under_way_ < width_ && left_ > 0) {
        --left_;
        ++under_way_;
        lock.unlock();
        call_([this, start = Steady::now()] { answer(Steady::now() - start); });
        lock.lock();
      }
      if (answered_ < latencies_.capacity()) room_.wait(lock);
    }
    std::sort(latencies_.begin(), latencies_.end());
  }
  [[nodiscard]] double percentile(double share) const {
    const auto index = static_cast<std::size_t>(share * static_cast<double>(latencies_.size() - 1));
    return latencies_[index];
  }

 private:
  void answer(Steady::duration time) {
    const std::scoped_lock lock(mutex_);
    latencies_.push_back(std::chrono::duration<double, std::micro>(time).count());
    ++answered_;
    // One wake-up for half the width: a server's loop also takes answers in bunches.
    if (--under_way_ <= width_ / 2 || left_ == 0) room_.notify_one();
  }

  Call call_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable room_;
  std::size_t left_;
  std::size_t width_;
  std::size_t under_way_ = 0;
  std::size_t answered_ = 0;
  std::vector<double> latencies_;  // microseconds
};

void report(benchmark::State& state, const Flight& flight, std::size_t count) {
  state.SetItemsProcessed(static_cast<std::int64_t>(count));
  state.counters["p50_us"] = flight.percentile(0.5);
  state.counters["p99_us"] = flight.percentile(0.99);
  state.counters["p999_us"] = flight.percentile(0.999);
}

Submission make_submission(std::string model = "echo") {
  Submission submission;
  submission.key = "ada";
  submission.model = std::move(model);
  submission.input =
      R"({"prompt":"a lighthouse in a storm, oil on canvas","width":1024,"height":768})";
  return submission;
}

void durable_submit(benchmark::State& state) {
  const auto width = static_cast<std::size_t>(state.range(0));
  const std::size_t count = width == 1 ? 2'000 : 100'000;
  Bench bench;
  for (auto _ : state) {
    Flight flight(
        [&](std::move_only_function<void()> done) {
          bench.queue().submit(make_submission(),
                               [done = std::move(done)](Result<Submitted>) mutable { done(); });
        },
        width, count);
    flight.run();
    report(state, flight, count);
  }
}
BENCHMARK(durable_submit)
    ->Arg(1)
    ->Arg(64)
    ->Arg(256)
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Iterations(1);

/// To each of the models in turn.
std::vector<TaskId> submit_many(LocalQueue& queue, std::size_t count, std::size_t models = 1) {
  std::mutex mutex;
  std::vector<TaskId> ids;
  std::size_t next = 0;
  Flight flight(
      [&](std::move_only_function<void()> done) {
        queue.submit(make_submission(model_name(next++ % models)),
                     [&, done = std::move(done)](Result<Submitted> made) mutable {
                       {
                         const std::scoped_lock lock(mutex);
                         ids.push_back(made->id);
                       }
                       done();
                     });
      },
      256, count);
  flight.run();
  return ids;
}

void poll_queued(benchmark::State& state) {
  Bench bench;
  const std::vector<TaskId> ids = submit_many(bench.queue(), 100'000);
  std::size_t next = 0;
  for (auto _ : state) {
    next = (next + 7'919) % ids.size();
    bench.queue().find({.ref = {ids[next], "ada", "echo"}},
                       [](Result<TaskView> view) { benchmark::DoNotOptimize(view->position); });
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(poll_queued);

void recover(benchmark::State& state) {
  constexpr std::size_t kCount = 1'000'000;
  Bench bench;
  submit_many(bench.queue(), kCount);
  for (auto _ : state) {
    bench.open();
    bench.configure();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(kCount) * state.iterations());
}
BENCHMARK(recover)->MeasureProcessCPUTime()->UseRealTime()->Iterations(1)->Unit(
    benchmark::kMillisecond);

/// Submits, then claims and finishes all of it in bunches.
std::vector<TaskId> run_many(LocalQueue& queue, std::size_t count) {
  std::vector<TaskId> ids = submit_many(queue, count);
  Flight flight(
      [&](std::move_only_function<void()> done) {
        queue.claim({.model = "echo"},
                    [&queue, done = std::move(done)](Result<std::vector<Claim>> claims) mutable {
                      Outcome outcome{.end = AttemptEnd::succeeded};
                      outcome.outputs.push_back(
                          {.type = OutputType::text, .text = std::move(claims->front().input)});
                      queue.finish(claims->front().lease, std::move(outcome),
                                   [done = std::move(done)](Result<TaskState>) mutable { done(); });
                    });
      },
      256, count);
  flight.run();
  return ids;
}

void claim_and_finish(benchmark::State& state) {
  constexpr std::size_t kCount = 50'000;
  Bench bench;
  for (auto _ : state) run_many(bench.queue(), kCount);
  state.SetItemsProcessed(static_cast<std::int64_t>(kCount) * state.iterations());
}
BENCHMARK(claim_and_finish)->MeasureProcessCPUTime()->UseRealTime()->Iterations(1);

/// Claims of a backlog whose inputs have to be read: so many a reply, of one of so many models.
void claim_backlog(benchmark::State& state) {
  constexpr std::size_t kCount = 100'000;
  const auto count_max = static_cast<std::uint32_t>(state.range(0));
  const auto models = static_cast<std::size_t>(state.range(1));
  Bench bench(models, {.body_cache_bytes = 0});
  submit_many(bench.queue(), kCount, models);
  std::size_t claimed = 0;
  for (auto _ : state) {
    Flight flight(
        [&](std::move_only_function<void()> done) {
          bench.queue().claim(
              {.model = "echo", .count_max = count_max},
              [&, done = std::move(done)](Result<std::vector<Claim>> claims) mutable {
                claimed += claims->size();
                done();
              });
        },
        1, kCount / models / count_max);
    flight.run();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(claimed));
}
BENCHMARK(claim_backlog)
    ->ArgNames({"claims", "models"})
    ->ArgsProduct({{16, 256}, {1, 8, 64}})
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Iterations(1);

void result_of_late(benchmark::State& state) {
  Bench bench;
  const std::vector<TaskId> ids = run_many(bench.queue(), 20'000);
  std::size_t next = 0;
  for (auto _ : state) {
    next = (next + 7'919) % ids.size();
    bench.queue().find(
        {.ref = {ids[next], "ada", "echo"}, .result = true},
        [](Result<TaskView> view) { benchmark::DoNotOptimize(view->outputs.data()); });
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(result_of_late);

}  // namespace
}  // namespace quern
