#include "queue/local/watch_hub.h"

#include <algorithm>
#include <utility>

namespace quern {

void WatchHub::State::remove(const std::shared_ptr<Entry>& entry) {
  const std::scoped_lock lock(mutex);
  const auto found = by_task.find(entry->id);
  if (found == by_task.end()) return;
  count.fetch_sub(std::erase(found->second, entry), std::memory_order_relaxed);
  if (found->second.empty()) by_task.erase(found);
}

Watch WatchHub::watch(const TaskId& id, std::optional<ModelIndex> model,
                      std::function<void()> changed) {
  auto entry = std::make_shared<Entry>();
  entry->id = id;
  entry->model = model;
  entry->changed = std::move(changed);
  {
    const std::scoped_lock lock(state_->mutex);
    state_->by_task[id].push_back(entry);
    state_->count.fetch_add(1, std::memory_order_relaxed);
  }
  Entry* const raw = entry.get();
  return {raw, [entry = std::move(entry), weak = std::weak_ptr(state_)](void*) {
            entry->ended.store(true, std::memory_order_relaxed);
            if (const std::shared_ptr<State> state = weak.lock()) state->remove(entry);
          }};
}

void WatchHub::call(const Entries& entries) {
  for (const std::shared_ptr<Entry>& entry : entries) {
    if (!entry->ended.load(std::memory_order_relaxed)) entry->changed();
  }
}

void WatchHub::task_changed(const TaskId& id, std::optional<ModelIndex> queued_in) {
  Entries entries;
  {
    const std::scoped_lock lock(state_->mutex);
    const auto found = state_->by_task.find(id);
    if (found == state_->by_task.end()) return;
    for (const std::shared_ptr<Entry>& entry : found->second) entry->model = queued_in;
    entries = found->second;
  }
  call(entries);
}

void WatchHub::positions_changed(ModelIndex model) { positions_[model].changed = true; }

WatchHub::Entries WatchHub::watchers_of(ModelIndex model) const {
  Entries entries;
  const std::scoped_lock lock(state_->mutex);
  for (const auto& [id, watchers] : state_->by_task) {
    std::copy_if(watchers.begin(), watchers.end(), std::back_inserter(entries),
                 [&](const std::shared_ptr<Entry>& entry) { return entry->model == model; });
  }
  return entries;
}

void WatchHub::flush(SteadyTime now) {
  for (auto& [model, positions] : positions_) {
    if (!positions.changed || positions.next > now) continue;
    positions = {now + kPositionInterval, false};
    call(watchers_of(model));
  }
}

std::optional<SteadyTime> WatchHub::next_due() const {
  std::optional<SteadyTime> due;
  for (const auto& [model, positions] : positions_) {
    if (positions.changed) due = std::min(due.value_or(positions.next), positions.next);
  }
  return due;
}

}  // namespace quern
