#pragma once
// Who wants to know of which task. Costs nothing while nobody watches.
//
// Changes of a task are told at once; changes of positions, which come with every claim of a model,
// at most every kPositionInterval a model. A watch that ends may still be inside its last call on
// another thread; none begins after. Threads: watch() and a Watch's end from any; the rest from the
// commit thread.

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "queue/core.h"
#include "queue/queue.h"

namespace quern {

inline constexpr std::chrono::milliseconds kPositionInterval{100};

class WatchHub {
 public:
  WatchHub() : state_(std::make_shared<State>()) {}

  /// `model`: of a queued task, else nothing.
  [[nodiscard]] Watch watch(const TaskId& id, std::optional<ModelIndex> model,
                            std::function<void()> changed);
  [[nodiscard]] bool is_empty() const { return state_->count.load(std::memory_order_relaxed) == 0; }

  /// The task changed. `queued_in`: its model if it is queued now.
  void task_changed(const TaskId& id, std::optional<ModelIndex> queued_in);
  /// Positions of the model's queued tasks may have changed.
  void positions_changed(ModelIndex model);
  /// Calls those whose turn has come.
  void flush(SteadyTime now);
  [[nodiscard]] std::optional<SteadyTime> next_due() const;

 private:
  struct Entry {
    TaskId id;
    std::optional<ModelIndex> model;  // whose positions matter to it
    std::function<void()> changed;
    std::atomic<bool> ended{false};
  };
  using Entries = std::vector<std::shared_ptr<Entry>>;
  struct State {
    std::atomic<std::size_t> count{0};
    std::mutex mutex;  // guards by_task and the entries' models
    std::unordered_map<TaskId, Entries> by_task;

    void remove(const std::shared_ptr<Entry>& entry);
  };

  static void call(const Entries& entries);
  [[nodiscard]] Entries watchers_of(ModelIndex model) const;

  std::shared_ptr<State> state_;
  struct Positions {
    SteadyTime next{};
    bool changed = false;
  };
  std::unordered_map<ModelIndex, Positions> positions_;  // of the commit thread
};

}  // namespace quern
