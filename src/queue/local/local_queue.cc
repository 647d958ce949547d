#include "queue/local/local_queue.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "queue/local/commit_thread.h"
#include "queue/local/committer.h"
#include "queue/local/journal.h"
#include "queue/local/journal_reader.h"
#include "queue/local/output_json.h"
#include "queue/local/queue_metrics.h"
#include "queue/local/queue_state.h"
#include "queue/local/reader_pool.h"
#include "queue/local/result_cache.h"
#include "queue/local/running_tasks.h"
#include "queue/local/task_views.h"
#include "queue/local/watch_hub.h"

namespace quern {
namespace {

std::unexpected<Error> no_such_task() { return fail(ErrorCode::not_found, "no such task"); }

bool is_visible(const TaskView& view, const TaskRef& ref) {
  return (ref.key.empty() || view.key == ref.key) && (ref.model.empty() || view.model == ref.model);
}

/// What becomes of a success that is more than the queue keeps: it would be so again.
Outcome failure_of(const Outcome& success, std::string error) {
  return {.end = AttemptEnd::failed,
          .error_type = ErrorType::inference_failure,
          .error = std::move(error),
          .run_time = success.run_time};
}

Result<std::vector<std::unique_ptr<JournalReader>>> open_readers(const std::filesystem::path& file,
                                                                 std::size_t count) {
  std::vector<std::unique_ptr<JournalReader>> readers;
  while (readers.size() < std::max<std::size_t>(count, 1)) {
    Result<std::unique_ptr<JournalReader>> reader = JournalReader::open(file);
    if (!reader) return fail(std::move(reader));
    readers.push_back(*std::move(reader));
  }
  return readers;
}

}  // namespace

/// In the order of their making; what comes later uses what came before.
struct LocalQueue::Impl {
  DataFolder folder;
  Clock& clock;
  std::unique_ptr<Journal> journal;
  QueueMetrics metrics;
  QueueState state;
  ResultCache results;
  RunningTasks running;
  WatchHub watches;
  Committer committer;
  ReaderPool readers;
  CommitThread commits;

  Impl(DataFolder the_folder, std::unique_ptr<Journal> the_journal,
       std::vector<std::unique_ptr<JournalReader>> the_readers, const LocalQueueOptions& options,
       Clock& the_clock, Random& random, Metrics& the_metrics)
      : folder(std::move(the_folder)),
        clock(the_clock),
        journal(std::move(the_journal)),
        metrics(the_metrics),
        results(options.result_cache_bytes),
        committer({state, *journal, clock, random, results, running, watches, metrics},
                  {options.retention, options.body_cache_bytes}),
        readers(std::move(the_readers)),
        commits(committer, clock) {}

  /// Hands a command to the commit thread; a refusal is answered here.
  template <typename C>
  void push(C command) {
    Command any(std::move(command));
    const char* const refused = commits.push(std::move(any));
    if (refused == nullptr) return;
    C& back = std::get<C>(any);
    if constexpr (std::is_same_v<C, AfterCommand>) {
      back.then();
    } else {
      back.reply(fail(ErrorCode::unavailable, refused, std::chrono::seconds{1}));
    }
  }

  enum class Live : std::uint8_t { no, hidden, yes };
  /// Fills `view` if the task is queued or running and the caller may see it.
  Live find_live(const TaskRef& ref, TaskView& view);
  /// What the store knows of a live task beside its state.
  void add_history(TaskQuery query, TaskView view, Reply<TaskView> reply);
  void find_stored(TaskQuery query, Reply<TaskView> reply);
  void read_stored(JournalReader& reader, TaskQuery query, Reply<TaskView> reply);
  std::shared_ptr<const EndedView> ended_view(EndedRecord record);
  Result<TaskPage> list(JournalReader& reader, const TaskFilter& filter);
};

LocalQueue::LocalQueue(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LocalQueue::~LocalQueue() { stop(); }

Result<std::unique_ptr<LocalQueue>> LocalQueue::open(const LocalQueueOptions& options, Clock& clock,
                                                     Random& random, Metrics& metrics) {
  Result<DataFolder> folder = DataFolder::lock(options.folder);
  if (!folder) return fail(std::move(folder));
  return open(*std::move(folder), options, clock, random, metrics);
}

Result<std::unique_ptr<LocalQueue>> LocalQueue::open(DataFolder folder,
                                                     const LocalQueueOptions& options, Clock& clock,
                                                     Random& random, Metrics& metrics) {
  Result<std::unique_ptr<Journal>> journal =
      Journal::open({.folder = folder.path(),
                     .checkpoint_pages = options.checkpoint_pages,
                     .times = QueueMetrics(metrics).table_times});
  if (!journal) return fail(std::move(journal));
  Result<std::vector<std::unique_ptr<JournalReader>>> readers =
      open_readers(database_in(folder.path()), options.readers);
  if (!readers) return fail(std::move(readers));

  auto impl = std::make_unique<Impl>(std::move(folder), *std::move(journal), *std::move(readers),
                                     options, clock, random, metrics);
  if (Result<void> done = impl->committer.recover(); !done) return fail(std::move(done));
  return std::unique_ptr<LocalQueue>(new LocalQueue(std::move(impl)));
}

void LocalQueue::start() {
  impl_->readers.start();
  impl_->commits.start();
}

void LocalQueue::stop() {
  // Readers may still ask the commit thread, which then refuses; never the other way round.
  impl_->commits.stop();
  impl_->readers.stop();
}

void LocalQueue::wake() { impl_->commits.wake(); }

void LocalQueue::observe(QueueObserver* observer) { impl_->committer.observe(observer); }

// ---- what the commit thread does

void LocalQueue::submit(Submission submission, Reply<Submitted> reply) {
  if (submission.input.size() > kInputBytesMax) {
    return reply(fail(ErrorCode::too_large, "the input is larger than 256 MiB"));
  }
  impl_->push(SubmitCommand{std::move(submission), std::move(reply)});
}

void LocalQueue::find_replay(const IdempotencyKey& key, Reply<std::optional<Submitted>> reply) {
  impl_->push(ReplayCommand{key, std::move(reply)});
}

void LocalQueue::claim(ClaimRequest request, Reply<std::vector<Claim>> reply) {
  impl_->push(ClaimCommand{std::move(request), std::move(reply)});
}

void LocalQueue::heartbeat(const Lease& lease, Beat beat, Reply<BeatAnswer> reply) {
  impl_->push(HeartbeatCommand{lease, std::move(beat), std::move(reply)});
}

void LocalQueue::finish(const Lease& lease, Outcome outcome, Reply<TaskState> reply) {
  if (outcome.outputs.size() > kOutputsMax) {
    outcome = failure_of(outcome, "more than " + std::to_string(kOutputsMax) + " outputs");
  }
  // Here and not on the commit thread: what many callers can do side by side.
  std::string stored_outputs = encode_outputs(outcome.outputs);
  if (stored_outputs.size() + outcome.metadata_json.size() > kOutputsBytesMax) {
    outcome = failure_of(outcome, "more than 256 MiB of outputs and metadata");
    stored_outputs = {};
  }
  impl_->push(
      FinishCommand{lease, std::move(outcome), std::move(stored_outputs), std::move(reply)});
}

void LocalQueue::cancel(const TaskRef& ref, Reply<CancelAnswer> reply) {
  impl_->push(CancelCommand{ref, std::move(reply)});
}

void LocalQueue::retry(const TaskRef& ref, Reply<TaskState> reply) {
  impl_->push(RetryCommand{ref, std::move(reply)});
}

void LocalQueue::purge(const TaskRef& ref, Reply<bool> reply) {
  impl_->push(PurgeCommand{ref, std::move(reply)});
}

void LocalQueue::pause(const std::string& model, bool paused, Reply<bool> reply) {
  impl_->push(PauseCommand{model, paused, std::move(reply)});
}

void LocalQueue::configure(QueuePolicy policy, Reply<bool> reply) {
  impl_->push(ConfigureCommand{std::move(policy), std::move(reply)});
}

void LocalQueue::set_disk_full(bool full) { impl_->journal->set_disk_full(full); }

// ---- looking

LocalQueue::Impl::Live LocalQueue::Impl::find_live(const TaskRef& ref, TaskView& view) {
  const std::scoped_lock lock(state.mutex);
  const std::optional<LiveTask> live = state.core.find(ref.id);
  if (!live) return Live::no;
  if (!state.is_visible(live->row, ref)) return Live::hidden;
  view = view_of(*live, state);
  return Live::yes;
}

void LocalQueue::find(const TaskQuery& query, Reply<TaskView> reply) {
  // The hot path of a poll: one look under the lock, no copy of the query, no other thread.
  const bool wants_history = query.logs || query.attempts;
  TaskView view;
  const Impl::Live live = impl_->find_live(query.ref, view);
  if (live == Impl::Live::hidden) return reply(no_such_task());
  if (live == Impl::Live::yes) {
    if (!wants_history) return reply(std::move(view));
    return impl_->add_history(query, std::move(view), std::move(reply));
  }
  if (const std::shared_ptr<const EndedView> ended = impl_->results.find(query.ref.id)) {
    if (!is_visible(ended->head, query.ref)) return reply(no_such_task());
    if (ended->has_history || !wants_history) return reply(ended->answer(query));
  }
  impl_->find_stored(query, std::move(reply));
}

void LocalQueue::Impl::add_history(TaskQuery query, TaskView view, Reply<TaskView> reply) {
  readers.post([this, query = std::move(query), view = std::move(view),
                reply = std::move(reply)](Result<JournalReader*> reader) mutable {
    if (!reader) return reply(fail(std::move(reader)));
    const std::optional<RunningTasks::Snapshot> now = running.snapshot(query.ref.id);
    // Where the tables cannot be written, what they have is more than nothing.
    static_cast<void>(journal->settle(query.ref.id));
    Result<TaskHistory> history = (*reader)->history(query.ref.id);
    if (!history) return reply(fail(std::move(history)));
    if (query.attempts) view.attempts = attempts_of(*history, now);
    if (query.logs) {
      MergedLogs logs = logs_of(*history, now);
      view.logs = std::move(logs.entries);
      view.logs_dropped = logs.dropped;
    }
    reply(std::move(view));
  });
}

void LocalQueue::Impl::find_stored(TaskQuery query, Reply<TaskView> reply) {
  readers.post([this, query = std::move(query),
                reply = std::move(reply)](Result<JournalReader*> reader) mutable {
    if (!reader) return reply(fail(std::move(reader)));
    read_stored(**reader, std::move(query), std::move(reply));
  });
}

void LocalQueue::Impl::read_stored(JournalReader& reader, TaskQuery query, Reply<TaskView> reply) {
  const ResultCache::Epoch epoch = results.epoch(query.ref.id);
  if (Result<void> done = journal->settle(query.ref.id); !done) {
    // The tables cannot be written. What it ended with may be in memory.
    if (const std::shared_ptr<const EndedView> ended = results.find(query.ref.id)) {
      if (!is_visible(ended->head, query.ref)) return reply(no_such_task());
      return reply(ended->answer(query));
    }
    return reply(fail(std::move(done)));
  }
  Result<std::optional<EndedRecord>> record = reader.find_ended(query.ref.id);
  if (!record) return reply(fail(std::move(record)));
  if (*record) {
    std::optional<Error> failure = (*record)->history_failure;
    const std::shared_ptr<const EndedView> view = ended_view(**std::move(record));
    results.put_read(view, epoch);
    if (!is_visible(view->head, query.ref)) return reply(no_such_task());
    const bool wants_history = query.logs || query.attempts;
    if (failure && wants_history) return reply(std::unexpected(*std::move(failure)));
    return reply(view->answer(query));
  }
  const Result<bool> is_live = reader.is_live(query.ref.id);
  if (!is_live) return reply(std::unexpected(is_live.error()));
  if (!*is_live) return reply(no_such_task());
  // It was retried between the two looks, and is live in the core when that transaction is
  // published.
  push(AfterCommand{[this, query = std::move(query), reply = std::move(reply)]() mutable {
    TaskView view;
    const Live live = find_live(query.ref, view);
    if (live == Live::hidden) return reply(no_such_task());
    if (live == Live::yes) {
      if (!query.logs && !query.attempts) return reply(std::move(view));
      return add_history(std::move(query), std::move(view), std::move(reply));
    }
    find_stored(std::move(query), std::move(reply));
  }});
}

std::shared_ptr<const EndedView> LocalQueue::Impl::ended_view(EndedRecord record) {
  EndedView view;
  {
    const std::scoped_lock lock(state.mutex);
    view = view_of(record.task.row, std::move(record.task.result), state);
  }
  view.has_history = !record.history_failure;
  MergedLogs logs = logs_of(record.history, std::nullopt);
  view.logs = std::move(logs.entries);
  view.logs_dropped = logs.dropped;
  view.attempts = attempts_of(record.history, std::nullopt);
  return std::make_shared<const EndedView>(std::move(view));
}

Watch LocalQueue::watch(const TaskId& id, WatchFor what, std::function<void()> changed) {
  std::optional<QueuePlace> place;
  // Until it is known where it stands: a task that is queued again in between would stay without a
  // place.
  const std::scoped_lock lock(impl_->state.mutex);
  const std::optional<LiveTask> live = impl_->state.core.find(id);
  if (live && live->row.state == TaskState::queued) place = QueuePlace::of(live->row);
  return impl_->watches.watch(id, place, what, std::move(changed));
}

void LocalQueue::list(const TaskFilter& filter, Reply<TaskPage> reply) {
  impl_->readers.post(
      [this, filter, reply = std::move(reply)](Result<JournalReader*> reader) mutable {
        if (!reader) return reply(fail(std::move(reader)));
        reply(impl_->list(**reader, filter));
      });
}

Result<TaskPage> LocalQueue::Impl::list(JournalReader& reader, const TaskFilter& filter) {
  std::optional<WallTime> submitted_before;
  if (filter.age_min) submitted_before = clock.now().wall - *filter.age_min;
  // Where the tables cannot be written, what they have is more than nothing.
  static_cast<void>(journal->settle());
  Result<ListedPage> listed = reader.list(filter, submitted_before);
  if (!listed) return fail(std::move(listed));
  TaskPage page;
  page.more = listed->more;
  page.tasks.reserve(listed->tasks.size());
  for (ListedTask& task : listed->tasks) {
    // One lock a task: a long page must not hold up the polls.
    const std::scoped_lock lock(state.mutex);
    const std::optional<LiveTask> live = state.core.find(task.row.id);
    if (live && live->row.state == task.row.state) {
      page.tasks.push_back(view_of(*live, state));
    } else {
      page.tasks.push_back(view_of(task.row, std::move(task.result), state).head);
    }
  }
  return page;
}

QueueStats LocalQueue::stats() {
  const WallTime now = impl_->clock.now().wall;
  std::optional<Error> failure = impl_->journal->failure();
  const std::scoped_lock lock(impl_->state.mutex);
  const QueueState& state = impl_->state;
  if (state.write_failure) failure = state.write_failure;
  QueueStats stats;
  stats.queued = state.core.queued();
  stats.running = state.core.running();
  stats.writable = !failure;
  if (failure) stats.unwritable_reason = std::move(failure)->message;
  for (std::size_t i = 0; i < state.models.size(); ++i) {
    const auto index = static_cast<ModelIndex>(i);
    ModelStats model{.model = state.models.name(index),
                     .queued = state.core.queued(index),
                     .running = state.core.running(index),
                     .paused = state.model_flags[i].paused};
    if (!state.model_flags[i].served && model.queued + model.running == 0) continue;
    if (const std::optional<WallTime> oldest = state.core.oldest_queued(index)) {
      using std::chrono::milliseconds;
      model.oldest_queued_age =
          std::max(std::chrono::duration_cast<milliseconds>(now - *oldest), milliseconds{0});
    }
    stats.models.push_back(std::move(model));
  }
  return stats;
}

}  // namespace quern
