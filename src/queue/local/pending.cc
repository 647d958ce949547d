#include "queue/local/pending.h"

#include <algorithm>
#include <type_traits>

#include "queue/local/change_codec.h"

namespace quern {
namespace {

using Stored = PendingTask::Stored;

std::string idempotency_name(KeyIndex key, std::string_view name) {
  return std::to_string(static_cast<std::uint32_t>(key)).append(1, ' ').append(name);
}

}  // namespace

Result<void> Pending::merge(std::string_view record) {
  ++records_;
  bytes_ += record.size();
  auto* const kept = static_cast<char*>(memory_.allocate(record.size(), 1));
  record.copy(kept, record.size());
  ChangeReader reader({kept, record.size()});
  while (!reader.is_at_end()) {
    const Result<StoreChange> change = reader.next();
    if (!change) return std::unexpected(change.error());
    std::visit([this](const auto& one) { take(one); }, *change);
    ++changes_;
  }
  return {};
}

PoolIndex Pending::index_of(std::int64_t sequence) const {
  return by_sequence_.find(PendingTask::hash_of(sequence), [sequence](const PendingTask& task) {
    return task.sequence == sequence;
  });
}

const PendingTask* Pending::find(const TaskId& id) const {
  const PoolIndex found = index_of(id.sequence());
  return found == kNoIndex ? nullptr : &tasks_[found];
}

const IdempotencyRecord* Pending::find_idempotency(KeyIndex key, std::string_view name) const {
  if (idempotency_.empty()) return nullptr;
  const auto found = idempotency_.find(idempotency_name(key, name));
  return found == idempotency_.end() ? nullptr : &found->second.record;
}

PendingTask& Pending::task(std::int64_t sequence, Stored stored) {
  PoolIndex at = index_of(sequence);
  if (at == kNoIndex) {
    at = tasks_.add({.sequence = sequence, .stored = stored});
    by_sequence_.insert(at);
  }
  return tasks_[at];
}

PendingHistory& Pending::history_of(PendingTask& task) {
  if (task.history == nullptr) task.history = &histories_.emplace_back();
  return *task.history;
}

const EndTask* Pending::keep(const EndTask& change) {
  static_assert(std::is_trivially_destructible_v<EndTask>);
  return std::pmr::polymorphic_allocator<>(&memory_).new_object<EndTask>(change);
}

void Pending::take(const InsertTask& change) {
  PendingTask& entry = task(change.row.id.sequence(), Stored::no);
  entry.row = change.row;
  entry.input = change.input;
}

void Pending::take(const UpdateTask& change) {
  PendingTask& entry = task(change.row.id.sequence(), Stored::live);
  entry.row = change.row;
  entry.started = change.started;
}

void Pending::take(const EndTask& change) {
  PendingTask& entry = task(change.row.id.sequence(), Stored::live);
  entry.row.reset();
  entry.started.reset();
  entry.end = keep(change);
  const WallTime ended = change.row.ended.value_or(change.row.submitted);
  first_end_ = std::min(first_end_.value_or(ended), ended);
}

void Pending::take(const ReviveTask& change) {
  PendingTask& entry = task(change.row.id.sequence(), Stored::ended);
  entry.row = change.row;
  // The ended row goes, and the attempt in it stays.
  if (entry.end && entry.end->last) history_of(entry).attempts.push_back(*entry.end->last);
  entry.end = nullptr;
}

void Pending::take(const InsertAttempt& change) {
  PendingTask& entry = task(change.attempt.sequence, Stored::live);
  history_of(entry).attempts.push_back(change.attempt);
}

void Pending::take(const InsertLog& change) {
  history_of(task(change.id.sequence(), Stored::live)).logs.push_back(change);
}

void Pending::take(const DropLogs& change) {
  PendingHistory& history = history_of(task(change.id.sequence(), Stored::live));
  history.first_log = change.first_kept;
  std::erase_if(history.logs,
                [&](const InsertLog& line) { return line.number < change.first_kept; });
}

void Pending::take(const InsertIdempotency& change) {
  idempotency_.insert_or_assign(idempotency_name(change.key, change.name), change);
}

void Pending::take(const RemoveIdempotency& change) {
  if (removed_idempotency_) {
    removed_idempotency_->created_before =
        std::max(removed_idempotency_->created_before, change.created_before);
    removed_idempotency_->count_max += change.count_max;
  } else {
    removed_idempotency_ = change;
  }
}

void Pending::take(const RemoveEnded& change) {
  PendingTask& entry = task(change.id.sequence(), Stored::ended);
  entry.is_removed = true;
  entry.row.reset();
  entry.end = nullptr;
  entry.history = nullptr;
}

}  // namespace quern
