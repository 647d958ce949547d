#include "queue/local/result_cache.h"

#include <utility>

namespace quern {

TaskView EndedView::answer(const TaskQuery& query) const {
  TaskView view = head;
  if (query.result) {
    view.outputs = outputs;
    view.metadata_json = metadata_json;
  }
  if (query.logs) {
    view.logs = logs;
    view.logs_dropped = logs_dropped;
  }
  if (query.attempts) view.attempts = attempts;
  return view;
}

std::size_t EndedView::bytes() const {
  constexpr std::size_t kContainers = 128;  // list and map nodes, about
  std::size_t sum = sizeof(EndedView) + kContainers + head.key.size() + head.model.size() +
                    head.error.size() + metadata_json.size();
  for (const Output& output : outputs) {
    sum += sizeof(Output) + output.file_key.size() + output.file_name.size() +
           output.content_type.size() + output.metadata_json.size();
    if (output.text) sum += output.text->size();
  }
  for (const LogEntry& entry : logs) sum += sizeof(LogEntry) + entry.message.size();
  for (const Attempt& attempt : attempts) sum += sizeof(Attempt) + attempt.reason.size();
  return sum;
}

void ResultCache::Shard::remove(std::int64_t sequence) {
  const auto found = by_sequence.find(sequence);
  if (found == by_sequence.end()) return;
  bytes -= found->second->bytes;
  entries.erase(found->second);
  by_sequence.erase(found);
}

void ResultCache::Shard::insert(std::shared_ptr<const EndedView> view, std::size_t bytes_max) {
  const std::int64_t sequence = view->head.id.sequence();
  const std::size_t size = view->bytes();
  // One large result may not push out all the others.
  if (size > bytes_max / 8) return remove(sequence);
  const auto [place, is_new] = by_sequence.try_emplace(sequence);
  if (!is_new) {
    bytes -= place->second->bytes;
    entries.erase(place->second);
  }
  entries.push_front({std::move(view), size});
  place->second = entries.begin();
  bytes += size;
  while (bytes > bytes_max) remove(entries.back().view->head.id.sequence());
}

void ResultCache::put(EndedView view) {
  Shard& shard = shard_of(view.head.id);
  auto shared = std::make_shared<const EndedView>(std::move(view));
  const std::scoped_lock lock(shard.mutex);
  shard.insert(std::move(shared), shard_bytes_max_);
}

void ResultCache::put_read(std::shared_ptr<const EndedView> view, Epoch epoch) {
  Shard& shard = shard_of(view->head.id);
  const std::scoped_lock lock(shard.mutex);
  if (shard.erased == epoch.value) shard.insert(std::move(view), shard_bytes_max_);
}

ResultCache::Epoch ResultCache::epoch(const TaskId& id) {
  Shard& shard = shard_of(id);
  const std::scoped_lock lock(shard.mutex);
  return {shard.erased};
}

std::shared_ptr<const EndedView> ResultCache::find(const TaskId& id) {
  Shard& shard = shard_of(id);
  const std::scoped_lock lock(shard.mutex);
  const auto found = shard.by_sequence.find(id.sequence());
  if (found == shard.by_sequence.end() || found->second->view->head.id != id) return nullptr;
  shard.entries.splice(shard.entries.begin(), shard.entries, found->second);
  return found->second->view;
}

void ResultCache::erase(const TaskId& id) {
  Shard& shard = shard_of(id);
  const std::scoped_lock lock(shard.mutex);
  ++shard.erased;
  shard.remove(id.sequence());
}

}  // namespace quern
