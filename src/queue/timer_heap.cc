#include "queue/timer_heap.h"

#include <algorithm>

namespace quern {
namespace {

constexpr PoolIndex kChildren = 4;

}  // namespace

void TimerHeap::set(TaskIndex task, SteadyTime due) {
  const Entry entry{due, task};
  PoolIndex at = tasks_[task].timer;
  if (at == kNoIndex) {
    at = heap_.size();
    heap_.push_back(entry);
  }
  sift_up(at, entry);
  sift_down(tasks_[task].timer, entry);
}

void TimerHeap::cancel(TaskIndex task) {
  const PoolIndex at = tasks_[task].timer;
  if (at == kNoIndex) return;
  tasks_[task].timer = kNoIndex;
  const Entry last = heap_[heap_.size() - 1];
  heap_.pop_back();
  if (last.task == task) return;
  sift_up(at, last);
  sift_down(tasks_[last.task].timer, last);
}

std::optional<SteadyTime> TimerHeap::due(TaskIndex task) const {
  const PoolIndex at = tasks_[task].timer;
  if (at == kNoIndex) return std::nullopt;
  return heap_[at].due;
}

std::optional<SteadyTime> TimerHeap::next_due() const {
  if (heap_.size() == 0) return std::nullopt;
  return heap_[0].due;
}

bool TimerHeap::is_before(const Entry& a, const Entry& b) const {
  return a.due != b.due ? a.due < b.due : tasks_[a.task].id < tasks_[b.task].id;
}

void TimerHeap::put(PoolIndex at, const Entry& entry) {
  heap_[at] = entry;
  tasks_[entry.task].timer = at;
}

void TimerHeap::sift_up(PoolIndex at, const Entry& entry) {
  while (at > 0 && is_before(entry, heap_[(at - 1) / kChildren])) {
    const PoolIndex parent = (at - 1) / kChildren;
    put(at, heap_[parent]);
    at = parent;
  }
  put(at, entry);
}

void TimerHeap::sift_down(PoolIndex at, const Entry& entry) {
  while (true) {
    const PoolIndex first = at * kChildren + 1;
    const PoolIndex end = std::min(first + kChildren, heap_.size());
    PoolIndex earliest = kNoIndex;
    for (PoolIndex child = first; child < end; ++child) {
      if (earliest == kNoIndex || is_before(heap_[child], heap_[earliest])) earliest = child;
    }
    if (earliest == kNoIndex || !is_before(heap_[earliest], entry)) break;
    put(at, heap_[earliest]);
    at = earliest;
  }
  put(at, entry);
}

}  // namespace quern
