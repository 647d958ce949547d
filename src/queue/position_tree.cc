#include "queue/position_tree.h"

#include <utility>

#include "base/assert.h"
#include "task/fair_rank.h"

namespace quern {
namespace {

constexpr std::uint32_t committed_part(Membership m) { return std::to_underlying(m) & 1U; }
constexpr std::uint32_t working_part(Membership m) { return (std::to_underlying(m) >> 1U) & 1U; }

bool is_before(const TaskRecord& a, const TaskRecord& b) {
  return is_claimed_before(a.rank, a.id, b.rank, b.id);
}

std::uint32_t count_of(const TaskTable& tasks, TaskIndex i, std::uint32_t TaskRecord::* count) {
  return i == kNoIndex ? 0 : tasks[i].*count;
}

std::uint64_t count_before(const TaskTable& tasks, PoolIndex root, const TaskRecord& task,
                           std::uint32_t TaskRecord::* count) {
  std::uint64_t before = 0;
  while (root != kNoIndex) {
    const TaskRecord& node = tasks[root];
    if (is_before(node, task)) {
      before += node.*count - count_of(tasks, node.position_right, count);
      root = node.position_right;
    } else {
      root = node.position_left;
    }
  }
  return before;
}

}  // namespace

bool PositionTree::Nodes::before(TaskIndex a, TaskIndex b) { return is_before(tasks[a], tasks[b]); }

void PositionTree::Nodes::gain(TaskIndex i, TaskIndex x) {
  tasks[i].committed_count += committed_part(tasks[x].membership);
  tasks[i].working_count += working_part(tasks[x].membership);
}

void PositionTree::Nodes::lose(TaskIndex i, TaskIndex x) {
  tasks[i].committed_count -= committed_part(tasks[x].membership);
  tasks[i].working_count -= working_part(tasks[x].membership);
}

void PositionTree::Nodes::pull(TaskIndex i) {
  TaskRecord& node = tasks[i];
  node.committed_count = committed_part(node.membership);
  node.working_count = working_part(node.membership);
  for (const PoolIndex child : {node.position_left, node.position_right}) {
    node.committed_count += count_of(tasks, child, &TaskRecord::committed_count);
    node.working_count += count_of(tasks, child, &TaskRecord::working_count);
  }
}

void PositionTree::set_membership(PoolIndex& root, TaskIndex task, Membership membership) {
  TaskRecord& record = tasks_[task];
  const Membership old = record.membership;
  if (old == membership) return;
  if (membership == Membership::none) {
    treap_.erase(root, task);
    record.membership = membership;
    return;
  }
  record.membership = membership;
  if (old == Membership::none) {
    treap_.insert(root, task);
  } else {
    recount(root, task, old, membership);
  }
}

void PositionTree::recount(PoolIndex root, TaskIndex task, Membership from, Membership to) {
  const std::uint32_t committed = committed_part(to) - committed_part(from);  // modulo 2^32
  const std::uint32_t working = working_part(to) - working_part(from);
  const TaskRecord& record = tasks_[task];
  while (true) {
    QUERN_ASSERT(root != kNoIndex);
    TaskRecord& node = tasks_[root];
    node.committed_count += committed;
    node.working_count += working;
    if (root == task) return;
    root = is_before(record, node) ? node.position_left : node.position_right;
  }
}

std::uint64_t PositionTree::committed_before(PoolIndex root, const TaskRecord& task) const {
  return count_before(tasks_, root, task, &TaskRecord::committed_count);
}

std::uint64_t PositionTree::working_before(PoolIndex root, const TaskRecord& task) const {
  return count_before(tasks_, root, task, &TaskRecord::working_count);
}

std::uint64_t PositionTree::committed_size(PoolIndex root) const {
  return count_of(tasks_, root, &TaskRecord::committed_count);
}

std::uint64_t PositionTree::working_size(PoolIndex root) const {
  return count_of(tasks_, root, &TaskRecord::working_count);
}

TaskIndex PositionTree::first_working(PoolIndex root) const {
  if (working_size(root) == 0) return kNoIndex;
  while (true) {
    const TaskRecord& node = tasks_[root];
    if (working_size(node.position_left) > 0) {
      root = node.position_left;
    } else if (working_part(node.membership) == 1) {
      return root;
    } else {
      root = node.position_right;
    }
  }
}

}  // namespace quern
