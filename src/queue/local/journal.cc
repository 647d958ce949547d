#include "queue/local/journal.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "base/assert.h"
#include "queue/local/change_codec.h"
#include "queue/local/data_folder.h"
#include "queue/local/output_json.h"
#include "queue/local/redo_log.h"
#include "queue/local/table_lookups.h"
#include "queue/local/table_writer.h"
#include "queue/local/tables.h"

namespace quern {
namespace {

constexpr std::size_t kRecordBytesKept = 1024 * 1024;  // from one transaction to the next

/// The task has ended, and is not forgotten.
bool is_ended(const PendingTask& task, const TaskId& id) {
  return !task.is_removed && task.end && task.end->row.id == id;
}

Result<EndedTask> ended_task(const EndTask& end) {
  EndedTask task{.row = end.row, .result = {}};
  task.result.run_time = end.run_time;
  task.result.error = end.error;
  task.result.metadata_json = end.metadata_json;
  Result<std::vector<Output>> outputs = decode_outputs(end.outputs);
  if (!outputs) return fail(std::move(outputs));
  task.result.outputs = *std::move(outputs);
  if (end.last) {
    task.last_attempt.emplace(Attempt{.number = end.last->number,
                                      .started = end.last->started,
                                      .ended = end.last->ended,
                                      .result = std::string(end.last->result),
                                      .reason = std::string(end.last->reason)},
                              end.last->retried, end.last->retry_at);
  }
  return task;
}

/// What has changed of a task since the tables were written. The overlay outlives it.
struct Versions {
  const PendingTask* recent = nullptr;
  const PendingTask* earlier = nullptr;

  Versions(const TableWriter::Overlay& overlay, const TaskId& id)
      : recent(overlay.recent->find(id)),
        earlier(overlay.earlier ? overlay.earlier->find(id) : nullptr) {}

  /// As it stands; null: as the tables have it.
  [[nodiscard]] const PendingTask* latest() const { return recent != nullptr ? recent : earlier; }
  /// The tables have nothing of it.
  [[nodiscard]] bool is_new() const {
    const PendingTask* const first = earlier != nullptr ? earlier : recent;
    return first != nullptr && first->stored == PendingTask::Stored::no;
  }
};

/// Nothing: the tables have it.
std::optional<std::string> pending_input(const TableWriter::Overlay& overlay, const TaskId& id) {
  const Versions found(overlay, id);
  for (const PendingTask* task : {found.recent, found.earlier}) {
    if (task != nullptr && task->stored == PendingTask::Stored::no) return std::string(task->input);
  }
  return std::nullopt;
}

}  // namespace

struct Journal::Impl {
  // In the order of their making; what comes later uses what came before.
  std::unique_ptr<RedoLog> log;
  std::unique_ptr<TableWriter> writer;  // its connection ends last, and moves SQLite's log
  std::unique_ptr<TableLookups> tables;
  std::string record;  // of the open transaction

  Result<void> commit() {
    // What the tables cannot take would be refused too late.
    if (Result<void> ready = writer->prepare(); !ready) return ready;
    const Result<std::uint64_t> number = log->append(record);
    if (!number) return std::unexpected(number.error());
    writer->add(record, *number);
    return {};
  }
};

Journal::Journal(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Journal::~Journal() = default;

Result<std::unique_ptr<Journal>> Journal::open(const JournalOptions& options) {
  if (Result<void> made = make_database(options.folder); !made) return fail(std::move(made));
  const std::filesystem::path file = database_in(options.folder);
  Result<std::unique_ptr<Tables>> tables = Tables::open(file);
  if (!tables) return fail(std::move(tables));
  Result<std::unique_ptr<TableLookups>> lookups = TableLookups::open(file);
  if (!lookups) return fail(std::move(lookups));
  const Result<LogPosition> position = (*lookups)->log_position();
  if (!position) return std::unexpected(position.error());
  Result<std::unique_ptr<RedoLog>> log = RedoLog::open(
      {.folder = options.folder, .seed = position->seed, .file_bytes = options.log_bytes});
  if (!log) return fail(std::move(log));
  std::uint64_t number = position->applied;
  auto replayed = std::make_shared<Pending>();
  const Result<void> done =
      (*log)->replay(number, [&](std::uint64_t next, std::string_view content) {
        number = next;
        return replayed->merge(content);
      });
  if (!done) return std::unexpected(done.error());

  auto impl = std::make_unique<Impl>();
  impl->log = *std::move(log);
  impl->tables = *std::move(lookups);
  impl->writer =
      std::make_unique<TableWriter>(*std::move(tables), *impl->log, options.checkpoint_pages,
                                    std::move(replayed), number, options.times);
  return std::unique_ptr<Journal>(new Journal(std::move(impl)));
}

std::optional<Error> Journal::failure() const { return impl_->writer->failure(); }

std::size_t Journal::cache_bytes() const { return impl_->writer->cache_bytes(); }

void Journal::set_disk_full(bool full) { impl_->log->set_disk_full(full); }

// ---- recovery

Result<std::vector<std::string>> Journal::key_names() {
  const TableWriter::Overlay overlay = impl_->writer->overlay();
  Result<std::vector<std::string>> names = impl_->tables->key_names();
  if (!names || !overlay.earlier) return names;
  for (const InsertKey& key : overlay.earlier->keys()) {
    put_name(*names, static_cast<std::size_t>(key.index), std::string(key.name));
  }
  return names;
}

Result<std::vector<StoredModel>> Journal::model_names() {
  const TableWriter::Overlay overlay = impl_->writer->overlay();
  Result<std::vector<StoredModel>> models = impl_->tables->model_names();
  if (!models || !overlay.earlier) return models;
  for (const InsertModel& model : overlay.earlier->models()) {
    put_name(*models, static_cast<std::size_t>(model.index), StoredModel{std::string(model.name)});
  }
  for (const SetPaused& pause : overlay.earlier->pauses()) {
    const auto at = static_cast<std::size_t>(pause.model);
    if (at < models->size()) (*models)[at].paused = pause.paused;
  }
  return models;
}

Result<std::int64_t> Journal::last_sequence() {
  const TableWriter::Overlay overlay = impl_->writer->overlay();
  Result<std::int64_t> last = impl_->tables->last_sequence();
  if (!last || !overlay.earlier) return last;
  for (const PendingTask& task : overlay.earlier->tasks()) last = std::max(*last, task.sequence);
  return last;
}

Result<std::uint64_t> Journal::reserved_lease_tokens() {
  const TableWriter::Overlay overlay = impl_->writer->overlay();
  if (overlay.earlier && overlay.earlier->lease_tokens()) return *overlay.earlier->lease_tokens();
  return impl_->tables->reserved_lease_tokens();
}

Result<void> Journal::for_each_live(const LiveRow& row) {
  const TableWriter::Overlay overlay = impl_->writer->overlay();
  if (!overlay.earlier) return impl_->tables->for_each_live(row);
  const Pending& pending = *overlay.earlier;
  std::map<std::int64_t, const PendingTask*> changed;
  for (const PendingTask& task : pending.tasks()) {
    if (task.row) changed.emplace(task.sequence, &task);
  }
  auto next = changed.begin();
  const auto give_changed_before = [&](std::int64_t sequence) {
    for (; next != changed.end() && next->first < sequence; ++next) {
      row(*next->second->row, next->second->started);
    }
  };
  const auto row_if_stored = [&](const TaskRow& stored, std::optional<WallTime> started) {
    give_changed_before(stored.id.sequence());
    const PendingTask* const task = pending.find(stored.id);
    if (task == nullptr || task->is_as_stored()) row(stored, started);
  };
  if (Result<void> done = impl_->tables->for_each_live(row_if_stored); !done) return done;
  give_changed_before(std::numeric_limits<std::int64_t>::max());
  return {};
}

void Journal::end_recovery() { impl_->writer->begin(); }

// ---- one transaction

void Journal::add(const StoreChange& change) { encode_change(change, impl_->record); }

Result<void> Journal::commit() {
  Result<void> done = impl_->commit();
  impl_->record.clear();
  if (impl_->record.capacity() > kRecordBytesKept) impl_->record = {};
  return done;
}

Result<void> Journal::settle() { return impl_->writer->settle(); }

Result<void> Journal::settle(const TaskId& id) { return impl_->writer->settle(id); }

// ---- lookups
// What is pending is looked at before the tables: it may move there meanwhile, never back.

Result<std::optional<IdempotencyRecord>> Journal::find_idempotency(KeyIndex key,
                                                                   std::string_view name) {
  const TableWriter::Overlay overlay = impl_->writer->overlay();
  for (const Pending* pending : {overlay.recent.get(), overlay.earlier.get()}) {
    const IdempotencyRecord* const record =
        pending == nullptr ? nullptr : pending->find_idempotency(key, name);
    if (record != nullptr) return *record;
  }
  return impl_->tables->find_idempotency(key, name);
}

Result<std::string> Journal::input(const TaskId& id) {
  const TableWriter::Overlay overlay = impl_->writer->overlay();
  if (std::optional<std::string> input = pending_input(overlay, id)) return *std::move(input);
  return impl_->tables->input(id);
}

std::vector<Result<std::string>> Journal::inputs(std::span<const TaskId> ids) {
  const TableWriter::Overlay overlay = impl_->writer->overlay();
  std::vector<Result<std::string>> inputs(ids.size());
  std::vector<TaskId> stored;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (std::optional<std::string> input = pending_input(overlay, ids[i])) {
      inputs[i] = *std::move(input);
    } else {
      stored.push_back(ids[i]);
      places.push_back(i);
    }
  }
  if (stored.empty()) return inputs;
  std::vector<Result<std::string>> read = impl_->tables->inputs(stored);
  for (std::size_t i = 0; i < read.size(); ++i) inputs[places[i]] = std::move(read[i]);
  return inputs;
}

Result<std::optional<EndedTask>> Journal::find_ended(const TaskId& id) {
  const TableWriter::Overlay overlay = impl_->writer->overlay();
  const PendingTask* const task = Versions(overlay, id).latest();
  if (task == nullptr) return impl_->tables->find_ended(id);
  if (!is_ended(*task, id)) return std::nullopt;
  Result<EndedTask> ended = ended_task(*task->end);
  if (!ended) return fail(std::move(ended));
  return *std::move(ended);
}

Result<std::optional<TaskRow>> Journal::find_ended_row(const TaskId& id) {
  const TableWriter::Overlay overlay = impl_->writer->overlay();
  const PendingTask* const task = Versions(overlay, id).latest();
  if (task == nullptr) return impl_->tables->find_ended_row(id);
  if (!is_ended(*task, id)) return std::nullopt;
  return task->end->row;
}

Result<std::vector<NumberedLog>> Journal::logs(const TaskId& id) {
  const TableWriter::Overlay overlay = impl_->writer->overlay();
  const Versions found(overlay, id);
  std::vector<NumberedLog> lines;
  if (!found.is_new()) {
    Result<std::vector<NumberedLog>> stored = impl_->tables->logs(id);
    if (!stored) return stored;
    lines = *std::move(stored);
  }
  std::map<std::uint64_t, LogEntry> by_number;
  for (NumberedLog& line : lines) by_number.insert_or_assign(line.number, std::move(line.entry));
  for (const PendingTask* task : {found.earlier, found.recent}) {
    if (task == nullptr || task->history == nullptr) continue;
    by_number.erase(by_number.begin(), by_number.lower_bound(task->history->first_log));
    for (const InsertLog& line : task->history->logs) {
      by_number.insert_or_assign(line.number, LogEntry{line.time, line.severity, line.from_quern,
                                                       std::string(line.message)});
    }
  }
  lines.clear();
  for (auto& [number, entry] : by_number) lines.push_back({number, std::move(entry)});
  return lines;
}

Result<ExpiredTasks> Journal::expired(WallTime ended_before, std::size_t count_max) {
  const TableWriter::Overlay overlay = impl_->writer->overlay();
  std::vector<const Pending*> pendings{overlay.recent.get()};
  if (overlay.earlier) pendings.push_back(overlay.earlier.get());
  // Of these the tables do not know the latest.
  const auto is_pending = [&](const TaskId& id) {
    return std::ranges::any_of(pendings, [&](const Pending* one) { return one->find(id); });
  };
  Result<ExpiredTasks> expired = impl_->tables->expired(ended_before, count_max, is_pending);
  if (!expired) return expired;

  for (const Pending* pending : pendings) {
    if (!pending->first_end() || *pending->first_end() >= ended_before) continue;
    for (const PendingTask& task : pending->tasks()) {
      if (expired->is_full(count_max)) break;
      if (!task.end || task.end->row.ended >= ended_before) continue;
      const TaskId& id = task.end->row.id;
      if (pending != pendings.front() && pendings.front()->find(id) != nullptr) continue;
      expired->bytes_read += task.end->outputs.size();
      expired->tasks.push_back({id, decode_files(task.end->outputs)});
    }
  }
  return expired;
}

Result<std::optional<WallTime>> Journal::oldest_ended() {
  const TableWriter::Overlay overlay = impl_->writer->overlay();
  Result<std::optional<WallTime>> oldest = impl_->tables->oldest_ended();
  if (!oldest) return oldest;
  for (const Pending* pending : {overlay.recent.get(), overlay.earlier.get()}) {
    if (pending == nullptr || !pending->first_end()) continue;
    oldest = std::min(oldest->value_or(*pending->first_end()), *pending->first_end());
  }
  return oldest;
}

Result<std::optional<WallTime>> Journal::oldest_idempotency() {
  if (is_forgetting_idempotency()) return std::nullopt;
  return impl_->tables->oldest_idempotency();
}

bool Journal::is_forgetting_idempotency() const {
  const TableWriter::Overlay overlay = impl_->writer->overlay();
  for (const Pending* pending : {overlay.recent.get(), overlay.earlier.get()}) {
    if (pending != nullptr && pending->removed_idempotency()) return true;
  }
  return false;
}

}  // namespace quern
