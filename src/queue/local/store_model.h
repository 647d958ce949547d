#pragma once
// Tests only: what the store must hold, in plain containers, and checks that it does.
//
//   model.take(change);                        // whatever the journal was given, in its order
//   expect_lookups(journal, model, …);         // at any time
//   expect_recovered(journal, model, …);       // of a journal that nothing was committed to yet
//   expect_tables(reader, model);              // after settle()

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "queue/local/journal.h"
#include "queue/local/journal_reader.h"
#include "queue/local/output_json.h"
#include "queue/local/store_change.h"

namespace quern {

class StoreModel {
 public:
  struct Ended {
    std::chrono::microseconds run_time{0};
    std::string error;
    std::string metadata_json;
    std::string outputs;
    bool has_last = false;  // then it is the last of the task's attempts
  };
  struct Task {
    TaskRow row;
    std::optional<WallTime> started;
    std::string input;
    std::optional<Ended> end;  // nothing: it is live
    std::vector<StoredAttempt> attempts;
    std::map<std::uint64_t, LogEntry> logs;
  };
  using Name = std::pair<KeyIndex, std::string>;

  void take(const StoreChange& change) {
    std::visit([this](const auto& one) { take_one(one); }, change);
  }

  std::map<std::int64_t, Task> tasks;  // by sequence
  std::map<std::int64_t, TaskId> removed;
  std::map<Name, IdempotencyRecord> idempotency;
  std::map<Name, TaskId> forgotten;  // idempotency records that are gone
  std::vector<std::string> keys;
  std::vector<StoredModel> models;
  std::uint64_t lease_tokens = 0;

 private:
  Task& task(const TaskId& id) { return tasks.at(id.sequence()); }
  void add_attempt(Task& task, const AttemptRecord& attempt);

  void take_one(const InsertKey& change) { keys.emplace_back(change.name); }
  void take_one(const InsertModel& change) { models.push_back({std::string(change.name), false}); }
  void take_one(const SetPaused& change) {
    models.at(static_cast<std::size_t>(change.model)).paused = change.paused;
  }
  void take_one(const InsertTask& change);
  void take_one(const UpdateTask& change);
  void take_one(const EndTask& change);
  void take_one(const ReviveTask& change);
  void take_one(const InsertAttempt& change);
  void take_one(const InsertLog& change);
  void take_one(const DropLogs& change);
  void take_one(const InsertIdempotency& change);
  void take_one(const RemoveIdempotency& change);
  void take_one(const RemoveEnded& change);
  void take_one(const ReserveLeaseTokens& change) { lease_tokens = change.up_to; }
};

/// What is pending may be answered less exactly, as journal.h says.
enum class Where : std::uint8_t { pending, settled };

// ---- the model

inline void StoreModel::add_attempt(Task& task, const AttemptRecord& attempt) {
  task.attempts.push_back({Attempt{.number = attempt.number,
                                   .started = attempt.started,
                                   .ended = attempt.ended,
                                   .result = std::string(attempt.result),
                                   .reason = std::string(attempt.reason)},
                           attempt.retried, attempt.retry_at});
}

inline void StoreModel::take_one(const InsertTask& change) {
  const auto [at, is_new] = tasks.try_emplace(change.row.id.sequence());
  ASSERT_TRUE(is_new);
  at->second.row = change.row;
  at->second.input = change.input;
}

inline void StoreModel::take_one(const UpdateTask& change) {
  Task& changed = task(change.row.id);
  ASSERT_FALSE(changed.end);
  changed.row = change.row;
  changed.started = change.started;
}

inline void StoreModel::take_one(const EndTask& change) {
  Task& ended = task(change.row.id);
  ASSERT_FALSE(ended.end);
  ended.row = change.row;
  ended.started.reset();
  ended.end = Ended{.run_time = change.run_time,
                    .error = std::string(change.error),
                    .metadata_json = std::string(change.metadata_json),
                    .outputs = std::string(change.outputs),
                    .has_last = change.last.has_value()};
  if (change.last) add_attempt(ended, *change.last);
}

inline void StoreModel::take_one(const ReviveTask& change) {
  Task& revived = task(change.row.id);
  ASSERT_TRUE(revived.end);
  revived.row = change.row;
  revived.end.reset();
}

inline void StoreModel::take_one(const InsertAttempt& change) {
  add_attempt(tasks.at(change.attempt.sequence), change.attempt);
}

inline void StoreModel::take_one(const InsertLog& change) {
  task(change.id).logs.insert_or_assign(
      change.number,
      LogEntry{change.time, change.severity, change.from_quern, std::string(change.message)});
}

inline void StoreModel::take_one(const DropLogs& change) {
  auto& logs = task(change.id).logs;
  logs.erase(logs.begin(), logs.lower_bound(change.first_kept));
}

inline void StoreModel::take_one(const InsertIdempotency& change) {
  const Name name{change.key, change.name};
  idempotency[name] = change.record;
  forgotten.erase(name);
}

inline void StoreModel::take_one(const RemoveIdempotency& change) {
  std::map<std::int64_t, Name> oldest;
  for (const auto& [name, record] : idempotency) oldest[record.id.sequence()] = name;
  std::uint64_t count = 0;
  for (const auto& [sequence, name] : oldest) {
    if (count++ == change.count_max) return;
    const IdempotencyRecord& record = idempotency.at(name);
    if (record.created >= change.created_before) continue;
    forgotten[name] = record.id;
    idempotency.erase(name);
  }
}

inline void StoreModel::take_one(const RemoveEnded& change) {
  ASSERT_TRUE(task(change.id).end);
  removed[change.id.sequence()] = change.id;
  tasks.erase(change.id.sequence());
}

// ---- comparing

namespace model_check {

/// What is kept of an ended task's row.
inline TaskRow kept_of_ended(TaskRow row) {
  row.rank = 0;
  row.lease_token = 0;
  row.start_deadline.reset();
  row.not_before.reset();
  return row;
}

/// One value of each kind, as text, so that a failure shows it.
inline std::string text_of(std::optional<WallTime> time) {
  return time ? std::to_string(time->time_since_epoch().count()) : "never";
}
inline std::string text_of(const LogEntry& entry) {
  return text_of(std::optional(entry.time)) + " " +
         std::to_string(static_cast<int>(entry.severity)) + " " +
         (entry.from_quern ? "quern " : "runner ") + entry.message;
}
inline std::string text_of(const StoredAttempt& one) {
  return std::to_string(one.attempt.number) + " " + text_of(std::optional(one.attempt.started)) +
         "-" + text_of(one.attempt.ended) + " " + one.attempt.result + " (" + one.attempt.reason +
         ")" + (one.retried ? " retried at " + text_of(one.retry_at) : "");
}
inline std::string text_of(const StoredResult& result) {
  return std::to_string(result.run_time.count()) + " " + result.error + " " + result.metadata_json +
         " " + encode_outputs(result.outputs);
}
inline std::string text_of(const StoreModel::Ended& end) {
  return std::to_string(end.run_time.count()) + " " + end.error + " " + end.metadata_json + " " +
         end.outputs;
}

inline std::map<std::uint64_t, std::string> texts_of(const std::vector<NumberedLog>& lines) {
  std::map<std::uint64_t, std::string> texts;
  for (const NumberedLog& line : lines) texts[line.number] = text_of(line.entry);
  return texts;
}
inline std::map<std::uint64_t, std::string> texts_of(
    const std::map<std::uint64_t, LogEntry>& lines) {
  std::map<std::uint64_t, std::string> texts;
  for (const auto& [number, entry] : lines) texts[number] = text_of(entry);
  return texts;
}
inline std::vector<std::string> texts_of(const std::vector<StoredAttempt>& attempts) {
  std::vector<std::string> texts;
  for (const StoredAttempt& one : attempts) texts.push_back(text_of(one));
  return texts;
}

inline void expect_ended(const EndedTask& found, const StoreModel::Task& task) {
  EXPECT_TRUE(kept_of_ended(found.row) == kept_of_ended(task.row));
  EXPECT_EQ(text_of(found.result), text_of(*task.end));
}

inline void expect_last_attempt(const EndedTask& found, const StoreModel::Task& task) {
  ASSERT_EQ(found.last_attempt.has_value(), task.end->has_last);
  if (!found.last_attempt) return;
  EXPECT_EQ(text_of(*found.last_attempt), text_of(task.attempts.back()));
}

inline void expect_inputs(Journal& journal, const StoreModel& model, Where where) {
  std::vector<TaskId> ids;
  std::vector<std::string> inputs;
  for (const auto& [sequence, task] : model.tasks) {
    if (task.end) continue;
    EXPECT_EQ(journal.input(task.row.id).value_or("none"), task.input) << sequence;
    ids.push_back(task.row.id);
    inputs.push_back(task.input);
  }
  const std::vector<Result<std::string>> found = journal.inputs(ids);
  ASSERT_EQ(found.size(), ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(found[i].value_or("none"), inputs[i]);
  if (where == Where::pending) return;
  for (const auto& [sequence, id] : model.removed) EXPECT_FALSE(journal.input(id)) << sequence;
}

inline void expect_tasks(Journal& journal, const StoreModel& model, Where where) {
  for (const auto& [sequence, task] : model.tasks) {
    SCOPED_TRACE("task " + std::to_string(sequence));
    const Result<std::optional<EndedTask>> found = journal.find_ended(task.row.id);
    ASSERT_TRUE(found);
    ASSERT_EQ(found->has_value(), task.end.has_value());
    if (*found) {
      expect_ended(**found, task);
      expect_last_attempt(**found, task);
    }
    const Result<std::optional<TaskRow>> row = journal.find_ended_row(task.row.id);
    ASSERT_TRUE(row);
    ASSERT_EQ(row->has_value(), task.end.has_value());
    if (*row) {
      EXPECT_TRUE(kept_of_ended(**row) == kept_of_ended(task.row));
    }
    TaskId other = task.row.id;
    other.low ^= 1U;
    EXPECT_FALSE(journal.find_ended(other)->has_value());
    EXPECT_FALSE(journal.find_ended_row(other)->has_value());
    EXPECT_EQ(texts_of(*journal.logs(task.row.id)), texts_of(task.logs));
  }
  for (const auto& [sequence, id] : model.removed) {
    EXPECT_FALSE(journal.find_ended(id)->has_value()) << sequence;
    EXPECT_FALSE(journal.find_ended_row(id)->has_value()) << sequence;
    if (where == Where::pending) continue;
    EXPECT_TRUE(journal.logs(id)->empty()) << sequence;
  }
}

/// As the store has them, of those outputs that are files.
inline std::string files_of(std::string_view outputs) {
  std::vector<Output> files = decode_outputs(outputs).value();
  std::erase_if(files, [](const Output& output) { return output.file_key.empty(); });
  return encode_outputs(files);
}

inline void expect_expired(Journal& journal, const StoreModel& model, WallTime before,
                           std::size_t count_max, Where where) {
  std::map<std::int64_t, const StoreModel::Task*> expected;
  for (const auto& [sequence, task] : model.tasks) {
    if (task.end && task.row.ended < before) expected.emplace(sequence, &task);
  }
  const Result<ExpiredTasks> found = journal.expired(before, count_max);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->tasks.size(), std::min(count_max, expected.size()));
  std::optional<WallTime> last;
  for (const ExpiredTask& one : found->tasks) {
    const auto at = expected.find(one.id.sequence());
    ASSERT_NE(at, expected.end()) << one.id.sequence() << " is not expired, or twice there";
    EXPECT_EQ(encode_outputs(one.outputs), files_of(at->second->end->outputs));
    EXPECT_TRUE(where == Where::pending || at->second->row.ended >= last);
    last = at->second->row.ended;
    expected.erase(at);
  }
}

inline void expect_retention(Journal& journal, const StoreModel& model, Where where) {
  std::set<WallTime> ends;
  std::size_t ended = 0;
  for (const auto& [sequence, task] : model.tasks) {
    if (!task.end) continue;
    ends.insert(*task.row.ended);
    ++ended;
  }
  const Result<std::optional<WallTime>> oldest = journal.oldest_ended();
  ASSERT_TRUE(oldest);
  if (!ends.empty()) {
    ASSERT_TRUE(*oldest);
    EXPECT_LE(**oldest, *ends.begin());
  }
  if (where == Where::settled) {
    EXPECT_EQ(text_of(*oldest), ends.empty() ? "never" : text_of(std::optional(*ends.begin())));
  }
  std::set<WallTime> befores(ends);
  if (!ends.empty()) befores.insert(*ends.rbegin() + std::chrono::microseconds{1});
  for (const WallTime before : befores) {
    for (const std::size_t count : {std::size_t{1}, ended / 2 + 1, ended + 10}) {
      expect_expired(journal, model, before, count, where);
    }
  }
}

inline void expect_idempotency(Journal& journal, const StoreModel& model, Where where) {
  std::int64_t first = std::numeric_limits<std::int64_t>::max();
  std::optional<WallTime> oldest;
  for (const auto& [name, record] : model.idempotency) {
    const Result<std::optional<IdempotencyRecord>> found =
        journal.find_idempotency(name.first, name.second);
    ASSERT_TRUE(found && *found) << name.second;
    EXPECT_EQ((*found)->id, record.id) << name.second;
    EXPECT_EQ((*found)->fingerprint, record.fingerprint);
    EXPECT_EQ((*found)->created, record.created);
    EXPECT_FALSE(journal.find_idempotency(KeyIndex{999}, name.second)->has_value());
    if (record.id.sequence() >= first) continue;
    first = record.id.sequence();
    oldest = record.created;
  }
  if (where == Where::pending) return;
  EXPECT_EQ(text_of(journal.oldest_idempotency().value()), text_of(oldest));
  for (const auto& [name, id] : model.forgotten) {
    EXPECT_FALSE(journal.find_idempotency(name.first, name.second)->has_value()) << name.second;
  }
}

}  // namespace model_check

inline void expect_lookups(Journal& journal, const StoreModel& model, Where where) {
  model_check::expect_inputs(journal, model, where);
  model_check::expect_tasks(journal, model, where);
  model_check::expect_retention(journal, model, where);
  model_check::expect_idempotency(journal, model, where);
}

inline void expect_recovered(Journal& journal, const StoreModel& model, Where where) {
  EXPECT_THAT(*journal.key_names(), testing::ElementsAreArray(model.keys));
  const std::vector<StoredModel> models = journal.model_names().value();
  ASSERT_EQ(models.size(), model.models.size());
  for (std::size_t i = 0; i < models.size(); ++i) {
    EXPECT_EQ(models[i].name, model.models[i].name);
    EXPECT_EQ(models[i].paused, model.models[i].paused) << models[i].name;
  }
  EXPECT_EQ(journal.reserved_lease_tokens().value(), model.lease_tokens);

  std::int64_t last = model.tasks.empty() ? 0 : model.tasks.rbegin()->first;
  for (const auto& [name, record] : model.idempotency) last = std::max(last, record.id.sequence());
  if (where == Where::settled) {
    EXPECT_EQ(journal.last_sequence().value(), last);
  } else {
    EXPECT_GE(journal.last_sequence().value(), last);
  }

  std::vector<std::int64_t> order;
  const Result<void> done =
      journal.for_each_live([&](const TaskRow& row, std::optional<WallTime> started) {
        const std::int64_t sequence = row.id.sequence();
        order.push_back(sequence);
        const auto at = model.tasks.find(sequence);
        ASSERT_TRUE(at != model.tasks.end() && !at->second.end) << sequence;
        EXPECT_TRUE(row == at->second.row) << sequence;
        EXPECT_EQ(model_check::text_of(started), model_check::text_of(at->second.started));
      });
  ASSERT_TRUE(done);
  std::vector<std::int64_t> expected;
  for (const auto& [sequence, task] : model.tasks) {
    if (!task.end) expected.push_back(sequence);
  }
  EXPECT_THAT(order, testing::ElementsAreArray(expected));
}

inline void expect_tables(JournalReader& reader, const StoreModel& model) {
  std::vector<std::int64_t> newest_first;
  for (const auto& [sequence, task] : model.tasks) {
    SCOPED_TRACE("task " + std::to_string(sequence));
    newest_first.insert(newest_first.begin(), sequence);
    EXPECT_EQ(reader.is_live(task.row.id).value(), !task.end);
    const Result<std::optional<EndedRecord>> ended = reader.find_ended(task.row.id);
    ASSERT_TRUE(ended);
    ASSERT_EQ(ended->has_value(), task.end.has_value());
    if (*ended) model_check::expect_ended((*ended)->task, task);
    const TaskHistory history = *ended ? (*ended)->history : reader.history(task.row.id).value();
    EXPECT_EQ(model_check::texts_of(history.attempts), model_check::texts_of(task.attempts));
    EXPECT_EQ(model_check::texts_of(history.logs), model_check::texts_of(task.logs));
  }
  for (const auto& [sequence, id] : model.removed) {
    const TaskHistory history = reader.history(id).value();
    EXPECT_TRUE(history.attempts.empty() && history.logs.empty()) << sequence;
    EXPECT_FALSE(reader.is_live(id).value());
  }
  std::vector<std::int64_t> listed;
  const ListedPage page = reader.list({.count_max = 1'000}, std::nullopt).value();
  for (const ListedTask& one : page.tasks) {
    listed.push_back(one.row.id.sequence());
  }
  EXPECT_EQ(listed, newest_first);
}

}  // namespace quern
