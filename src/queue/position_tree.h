#pragma once
// Queue positions: the queued tasks of one model and priority in claim order, with subtree counts.
//
// One tree holds two sets at once. The working set is what the open batch has made of the queue;
// the committed set is what a reader may see. A task that a batch took out stays in the tree,
// counted as committed only, until the batch is committed; one that it put in is counted as working
// only. Both answer in O(log n).

#include <cstdint>

#include "queue/task_table.h"
#include "queue/treap.h"

namespace quern {

class PositionTree {
 public:
  explicit PositionTree(TaskTable& tasks) : tasks_(tasks), treap_(Nodes{tasks}) {}

  /// Puts the task into the sets that `membership` names and takes it out of the others.
  void set_membership(PoolIndex& root, TaskIndex task, Membership membership);

  /// How many of the tree's committed (or working) tasks come before `task`, which need not be one.
  [[nodiscard]] std::uint64_t committed_before(PoolIndex root, const TaskRecord& task) const;
  [[nodiscard]] std::uint64_t working_before(PoolIndex root, const TaskRecord& task) const;
  [[nodiscard]] std::uint64_t committed_size(PoolIndex root) const;
  [[nodiscard]] std::uint64_t working_size(PoolIndex root) const;
  /// The first task of the working set, or kNoIndex.
  [[nodiscard]] TaskIndex first_working(PoolIndex root) const;

 private:
  struct Nodes {
    TaskTable& tasks;

    PoolIndex& left(TaskIndex i) { return tasks[i].position_left; }
    PoolIndex& right(TaskIndex i) { return tasks[i].position_right; }
    bool before(TaskIndex a, TaskIndex b);
    std::uint32_t height(TaskIndex i) { return treap_height(tasks[i].hash()); }
    void gain(TaskIndex i, TaskIndex x);
    void lose(TaskIndex i, TaskIndex x);
    void pull(TaskIndex i);
  };

  void recount(PoolIndex root, TaskIndex task, Membership from, Membership to);

  TaskTable& tasks_;
  Treap<Nodes> treap_;
};

}  // namespace quern
