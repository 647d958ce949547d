#pragma once
// At most one timer for each task, the earliest first; set, move and cancel are O(log n).

#include <optional>

#include "queue/task_table.h"

namespace quern {

class TimerHeap {
 public:
  explicit TimerHeap(TaskTable& tasks) : tasks_(tasks) {}

  /// Sets the task's timer, or moves it.
  void set(TaskIndex task, SteadyTime due);
  /// Does nothing if the task has none.
  void cancel(TaskIndex task);

  [[nodiscard]] std::optional<SteadyTime> due(TaskIndex task) const;
  [[nodiscard]] std::optional<SteadyTime> next_due() const;
  /// The task whose timer is the earliest, the older one of equals. Only if next_due() has a value.
  [[nodiscard]] TaskIndex first() const { return heap_[0].task; }

 private:
  struct Entry {
    SteadyTime due;
    TaskIndex task = kNoIndex;
  };

  [[nodiscard]] bool is_before(const Entry& a, const Entry& b) const;
  void put(PoolIndex at, const Entry& entry);
  void sift_up(PoolIndex at, const Entry& entry);
  void sift_down(PoolIndex at, const Entry& entry);

  TaskTable& tasks_;
  ChunkedArray<Entry> heap_;  // four children to a node: shallow, and siblings share a cache line
};

}  // namespace quern
