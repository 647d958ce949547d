#pragma once
// The queue's metrics, made once.

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "base/metrics.h"
#include "task/task.h"

namespace quern {

/// Of the table writer, in seconds, those that fail too; null: counted nowhere.
struct TableTimes {
  Histogram* apply = nullptr;
  Histogram* checkpoint = nullptr;
};

struct QueueMetrics {
  explicit QueueMetrics(Metrics& metrics)
      : batch_commands(metrics.histogram("quern_queue_batch_commands",
                                         "Commands that share one transaction.", size_bounds())),
        commit_seconds(metrics.histogram("quern_queue_commit_seconds",
                                         "Time to make a transaction durable.", latency_bounds())),
        table_times{
            &metrics.histogram("quern_store_apply_seconds",
                               "Time to write what has gathered into the tables.",
                               latency_bounds()),
            &metrics.histogram("quern_store_checkpoint_seconds",
                               "Time to move SQLite's log into the database.", latency_bounds())},
        commit_failures(metrics.counter("quern_queue_commit_failures_total",
                                        "Transactions that the store refused.")),
        cache_bytes(metrics.gauge("quern_store_cache_bytes",
                                  "Memory of the store's cache of pages, on the writing side.")),
        submitted(metrics.counter("quern_tasks_submitted_total", "Tasks accepted.")),
        expired(metrics.counter("quern_tasks_expired_total",
                                "Ended tasks forgotten after their retention.")) {
    for (std::size_t i = 0; i < kResults.size(); ++i) {
      attempts[i] = &metrics.counter("quern_queue_attempts_ended_total",
                                     "Attempts that ended, by result, as the store has them.",
                                     {{"result", std::string(kResults[i])}});
    }
    for (std::size_t i = 0; i < kEnds.size(); ++i) {
      ended[i] = &metrics.counter("quern_tasks_ended_total", "Tasks that ended, by state.",
                                  {{"state", std::string(kEnds[i])}});
    }
  }

  void count_attempt(std::string_view result) {
    const auto found = std::find(kResults.begin(), kResults.end(), result);
    if (found != kResults.end())
      attempts[static_cast<std::size_t>(found - kResults.begin())]->add();
  }
  void count_ended(TaskState state) {
    ended[static_cast<std::size_t>(state) - static_cast<std::size_t>(TaskState::succeeded)]->add();
  }

  static constexpr std::array<std::string_view, 6> kResults{"succeeded", "failed", "canceled",
                                                            "released",  "lost",   "crashed"};
  static constexpr std::array<std::string_view, 3> kEnds{"succeeded", "failed", "canceled"};

  Histogram& batch_commands;
  Histogram& commit_seconds;
  TableTimes table_times;
  Counter& commit_failures;
  Gauge& cache_bytes;
  Counter& submitted;
  Counter& expired;
  std::array<Counter*, kResults.size()> attempts{};
  std::array<Counter*, kEnds.size()> ended{};  // by state, from succeeded on
};

}  // namespace quern
