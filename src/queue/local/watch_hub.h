#pragma once
// Who wants to know of which task. Costs nothing while nobody watches.
//
// Changes of a task are told at once. Changes of positions, which come with every claim of a model,
// are told at most every kPositionInterval a model, and less often when many watch: telling all of
// them must not keep the commit thread busy. A watch that ends on another thread meanwhile may still
// be inside its last call, or get it a moment later.
// Threads: watch() and a Watch's end from any; the rest from the commit thread.

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "queue/core.h"
#include "queue/queue.h"
#include "task/fair_rank.h"

namespace quern {

inline constexpr std::chrono::milliseconds kPositionInterval{100};
/// What each watcher adds to the interval: news of positions go out at most 10,000 times a second.
inline constexpr std::chrono::microseconds kPositionIntervalPerWatch{100};

/// Where a queued task stands among its model's, which are claimed in this order.
struct QueuePlace {
  ModelIndex model{};
  Priority priority{};
  double rank = 0;
  TaskId id;

  static QueuePlace of(const TaskRow& row) { return {row.model, row.priority, row.rank, row.id}; }
  /// In the same model.
  [[nodiscard]] bool comes_before(const QueuePlace& other) const {
    if (priority != other.priority) return priority < other.priority;
    return is_claimed_before(rank, id, other.rank, other.id);
  }
};

class WatchHub {
 public:
  WatchHub() : state_(std::make_shared<State>()) {}

  /// `place`: of a queued task, else nothing.
  [[nodiscard]] Watch watch(const TaskId& id, const std::optional<QueuePlace>& place, WatchFor what,
                            std::function<void()> changed);
  [[nodiscard]] bool is_empty() const { return state_->count.load(std::memory_order_relaxed) == 0; }

  /// The task's state may have changed. `place`: of a task that is queued now.
  void state_changed(const TaskId& id, const std::optional<QueuePlace>& place);
  /// A running task has told of its progress, or has new logs.
  void progress_changed(const TaskId& id);
  /// A task has come to this place or left it: positions behind it change.
  void positions_changed(const QueuePlace& from);
  /// Calls those whose turn has come.
  void flush(SteadyTime now);
  [[nodiscard]] std::optional<SteadyTime> next_due() const;

 private:
  struct Entry;
  using EntryPtr = std::shared_ptr<Entry>;
  using Entries = std::vector<EntryPtr>;
  struct ComesBefore {
    bool operator()(const QueuePlace& a, const QueuePlace& b) const { return a.comes_before(b); }
  };
  using Places = std::multimap<QueuePlace, EntryPtr, ComesBefore>;  // of one model
  struct Entry {
    TaskId id;
    WatchFor what{};
    std::function<void()> changed;
    std::atomic<bool> ended{false};
    std::optional<Places::iterator> place{};  // of a queued task, where its position is wanted
  };
  struct State {
    std::atomic<std::size_t> count{0};
    // Guards the rest and the entries' places. Whoever begins to watch has the queue's state locked;
    // nothing is locked under this one.
    std::mutex mutex;
    std::unordered_map<TaskId, Entries> by_task;
    std::unordered_map<ModelIndex, Places> places;

    void move(const EntryPtr& entry, const std::optional<QueuePlace>& to);
    void remove(const EntryPtr& entry);
  };

  static void call(const Entries& entries);
  /// Who wants to know of positions, behind this place: a search, however many watch.
  [[nodiscard]] Entries watchers_behind(const QueuePlace& from) const;

  std::shared_ptr<State> state_;
  struct Positions {
    SteadyTime next{};
    std::optional<QueuePlace> from;  // the foremost that changed and was not told yet
  };
  std::unordered_map<ModelIndex, Positions> positions_;  // of the commit thread
};

}  // namespace quern
