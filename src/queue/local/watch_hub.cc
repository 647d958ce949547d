#include "queue/local/watch_hub.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace quern {

void WatchHub::State::move(const EntryPtr& entry, const std::optional<QueuePlace>& to) {
  if (const auto from = std::exchange(entry->place, std::nullopt)) {
    const auto found = places.find((*from)->first.model);
    found->second.erase(*from);
    if (found->second.empty()) places.erase(found);
  }
  if (to && entry->what == WatchFor::everything) {
    entry->place = places[to->model].emplace(*to, entry);
  }
}

void WatchHub::State::remove(const EntryPtr& entry) {
  const std::scoped_lock lock(mutex);
  move(entry, std::nullopt);
  const auto found = by_task.find(entry->id);
  if (found == by_task.end()) return;
  count.fetch_sub(std::erase(found->second, entry), std::memory_order_relaxed);
  if (found->second.empty()) by_task.erase(found);
}

Watch WatchHub::watch(const TaskId& id, const std::optional<QueuePlace>& place, WatchFor what,
                      std::function<void()> changed) {
  auto entry = std::make_shared<Entry>();
  entry->id = id;
  entry->what = what;
  entry->changed = std::move(changed);
  {
    const std::scoped_lock lock(state_->mutex);
    state_->by_task[id].push_back(entry);
    state_->move(entry, place);
    state_->count.fetch_add(1, std::memory_order_relaxed);
  }
  Entry* const raw = entry.get();
  return {raw, [entry = std::move(entry), weak = std::weak_ptr(state_)](void*) {
            entry->ended.store(true, std::memory_order_relaxed);
            if (const std::shared_ptr<State> state = weak.lock()) state->remove(entry);
          }};
}

void WatchHub::call(const Entries& entries) {
  for (const EntryPtr& entry : entries) {
    if (!entry->ended.load(std::memory_order_relaxed)) entry->changed();
  }
}

void WatchHub::state_changed(const TaskId& id, const std::optional<QueuePlace>& place) {
  Entries entries;
  {
    const std::scoped_lock lock(state_->mutex);
    const auto found = state_->by_task.find(id);
    if (found == state_->by_task.end()) return;
    for (const EntryPtr& entry : found->second) state_->move(entry, place);
    entries = found->second;
  }
  call(entries);
}

void WatchHub::progress_changed(const TaskId& id) {
  Entries entries;
  {
    const std::scoped_lock lock(state_->mutex);
    const auto found = state_->by_task.find(id);
    if (found == state_->by_task.end()) return;
    std::ranges::copy_if(found->second, std::back_inserter(entries),
                         [](const auto& entry) { return entry->what == WatchFor::everything; });
  }
  call(entries);
}

void WatchHub::positions_changed(const QueuePlace& from) {
  std::optional<QueuePlace>& foremost = positions_[from.model].from;
  if (!foremost || from.comes_before(*foremost)) foremost = from;
}

WatchHub::Entries WatchHub::watchers_behind(const QueuePlace& from) const {
  Entries entries;
  const std::scoped_lock lock(state_->mutex);
  const auto found = state_->places.find(from.model);
  if (found == state_->places.end()) return entries;
  const Places& places = found->second;
  for (auto it = places.upper_bound(from); it != places.end(); ++it) entries.push_back(it->second);
  return entries;
}

void WatchHub::flush(SteadyTime now) {
  for (auto& [model, positions] : positions_) {
    if (!positions.from || positions.next > now) continue;
    const Entries behind = watchers_behind(*positions.from);
    const auto interval = std::max<std::chrono::microseconds>(
        kPositionInterval, behind.size() * kPositionIntervalPerWatch);
    positions = {now + interval, std::nullopt};
    call(behind);
  }
}

std::optional<SteadyTime> WatchHub::next_due() const {
  // Nobody is told of it then; whoever watches later looks after that.
  if (is_empty()) return std::nullopt;
  std::optional<SteadyTime> due;
  for (const auto& [model, positions] : positions_) {
    if (positions.from) due = std::min(due.value_or(positions.next), positions.next);
  }
  return due;
}

}  // namespace quern
