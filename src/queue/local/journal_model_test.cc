// The journal against a plain model, over random sequences of legal changes: while they are pending,
// in the tables, and after crashes.

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "queue/local/journal_fixture.h"
#include "queue/local/output_json.h"
#include "queue/local/schema.h"
#include "queue/local/store_model.h"

namespace quern {
namespace {

class JournalModelTest : public JournalTest, public testing::WithParamInterface<std::uint64_t> {
 protected:
  static constexpr std::size_t kTasksMax = 36;
  static constexpr int kSteps = 150;

  JournalModelTest() : chance_(GetParam()) { gate_.install(file()); }

  // -- chance
  std::uint64_t below(std::uint64_t bound) { return chance_() % bound; }
  bool one_in(std::uint64_t count) { return below(count) == 0; }
  std::string_view text(std::size_t bytes) {
    std::string& kept = texts_.emplace_back(std::to_string(texts_.size()) + " ");
    kept.resize(std::max(bytes, kept.size()), 'x');
    return kept;
  }
  /// Of those that `fits`; null: there is none.
  template <typename Fits>
  const StoreModel::Task* some_task(Fits fits) {
    std::vector<const StoreModel::Task*> found;
    for (const auto& [sequence, task] : model_.tasks) {
      if (fits(task)) found.push_back(&task);
    }
    return found.empty() ? nullptr : found[below(found.size())];
  }
  static bool is_running(const StoreModel::Task& task) {
    return task.row.state == TaskState::running;
  }

  // -- changes
  void add(const StoreChange& change) {
    journal().add(change);
    model_.take(change);
  }
  WallTime tick() { return at(++time_); }

  void submit() {
    if (model_.tasks.size() >= kTasksMax) return;
    sequence_ += 1 + static_cast<std::int64_t>(below(5));
    TaskRow row = make_row(sequence_);
    row.submitted = tick();
    row.priority = one_in(3) ? Priority::low : Priority::normal;
    row.no_retry = one_in(4);
    if (one_in(4)) row.start_deadline = at(time_ + 1'000);
    add(InsertTask{row, text(one_in(4) ? kInlineInputBytesMax + 1 + below(3'000) : below(300))});
    if (one_in(2)) return;
    InsertIdempotency change{.key = KeyIndex{static_cast<std::uint32_t>(below(2))},
                             .name = text(0),
                             .record = {.id = row.id, .created = row.submitted}};
    if (one_in(2)) change.name = one_in(2) ? "a" : "b";  // again and again
    change.record.fingerprint.fill(static_cast<std::uint8_t>(below(256)));
    add(change);
  }
  void start() {
    const auto* task =
        some_task([](const auto& one) { return one.row.state == TaskState::queued; });
    if (task == nullptr) return;
    TaskRow row = task->row;
    row.state = TaskState::running;
    ++row.attempts_started;
    row.lease_token = ++token_;
    row.start_deadline.reset();
    row.not_before.reset();
    add(UpdateTask{row, tick()});
  }
  AttemptRecord attempt_of(const StoreModel::Task& task, bool retried) {
    AttemptRecord record{.sequence = task.row.id.sequence(),
                         .token = task.row.lease_token,
                         .number = task.row.attempts_started,
                         .started = *task.started,
                         .ended = tick(),
                         .result = retried ? "lost" : "failed",
                         .reason = text(below(20)),
                         .retried = retried};
    if (retried && one_in(2)) record.retry_at = at(time_ + 5);
    return record;
  }
  void queue_again() {
    const auto* task = some_task(is_running);
    if (task == nullptr) return;
    const AttemptRecord record = attempt_of(*task, true);
    TaskRow row = task->row;
    row.state = TaskState::queued;
    row.lease_token = 0;
    row.not_before = record.retry_at;
    add(InsertAttempt{record});
    add(UpdateTask{row, std::nullopt});
  }
  void mark_canceled() {
    const auto* task = some_task(is_running);
    if (task == nullptr) return;
    TaskRow row = task->row;
    row.cancel_requested = true;
    add(UpdateTask{row, task->started});
  }
  void log() {
    const auto* task = some_task(is_running);
    if (task == nullptr) return;
    const TaskId id = task->row.id;
    std::uint64_t& next = next_log_[id.sequence()];
    if (next > 2 && one_in(5)) add(DropLogs{id, next - below(3)});
    for (std::uint64_t lines = 1 + below(3); lines > 0; --lines) {
      add(InsertLog{id, next++, tick(), LogSeverity::stdout_, one_in(2), text(below(50))});
    }
    if (one_in(6)) add(InsertLog{id, next - 1, tick(), LogSeverity::warn, true, text(5)});
  }
  void end() {
    const auto* task = some_task([](const auto& one) { return !one.end; });
    if (task == nullptr) return;
    EndTask change{.row = task->row};
    if (task->row.state == TaskState::running) {
      change.last = attempt_of(*task, false);
      change.row.state = one_in(2) ? TaskState::succeeded : TaskState::failed;
    } else {
      change.row.state = TaskState::canceled;
    }
    change.row.lease_token = 0;
    change.row.ended = change.last ? change.last->ended : tick();
    change.run_time = std::chrono::microseconds{below(1'000)};
    if (change.row.state == TaskState::failed) {
      change.row.error_type = ErrorType::content_blocked;
      change.error = text(below(30));
    } else {
      change.outputs = texts_.emplace_back(
          encode_outputs({{{.type = OutputType::text, .text = std::string(text(below(60)))}}}));
      change.metadata_json = one_in(2) ? "{}" : "";
    }
    add(change);
  }
  void revive() {
    const auto* task =
        some_task([](const auto& one) { return one.end && one.row.state != TaskState::succeeded; });
    if (task == nullptr) return;
    add(ReviveTask{{.id = task->row.id,
                    .key = task->row.key,
                    .model = task->row.model,
                    .priority = task->row.priority,
                    .no_retry = task->row.no_retry,
                    .rank = static_cast<double>(time_) / 3,
                    .submitted = task->row.submitted}});
  }
  void remove() {
    const auto* task = some_task([](const auto& one) { return one.end.has_value(); });
    if (task != nullptr) add(RemoveEnded{task->row.id});
  }
  void name_and_pause() {
    if (one_in(2)) add(InsertKey{static_cast<KeyIndex>(model_.keys.size()), text(0)});
    if (one_in(2)) add(InsertModel{static_cast<ModelIndex>(model_.models.size()), text(0)});
    if (!model_.models.empty()) {
      add(SetPaused{static_cast<ModelIndex>(below(model_.models.size())), one_in(2)});
    }
    if (one_in(2)) add(ReserveLeaseTokens{token_ + below(100)});
  }
  /// Only what the tables have is forgotten, what is younger waits for the next time; and not so many
  /// that a limit counts, which counts those too that are being replaced.
  void forget_idempotency() { add(RemoveIdempotency{at(settled_ + 1), 1'000}); }

  void change_something() {
    using Change = void (JournalModelTest::*)();
    static constexpr Change kChanges[] = {
        &JournalModelTest::submit,        &JournalModelTest::submit, &JournalModelTest::submit,
        &JournalModelTest::start,         &JournalModelTest::start,  &JournalModelTest::start,
        &JournalModelTest::end,           &JournalModelTest::end,    &JournalModelTest::queue_again,
        &JournalModelTest::mark_canceled, &JournalModelTest::log,    &JournalModelTest::log,
        &JournalModelTest::revive,        &JournalModelTest::revive, &JournalModelTest::remove,
        &JournalModelTest::name_and_pause};
    (this->*kChanges[below(std::size(kChanges))])();
  }

  // -- what happens to the journal
  void settle_all() {
    release();
    is_held_ = false;
    settle();
    settled_ = time_;
  }
  void hold_all() {
    settle_or_release();
    hold();
    is_held_ = true;
  }
  void settle_or_release() {
    release();
    is_held_ = false;
  }
  void crash() {
    if (!is_held_) hold_all();
    reopen_after_crash();
    is_held_ = false;
    expect_recovered(journal(), model_, Where::pending);
  }
  void step() {
    for (std::uint64_t changes = 1 + below(5); changes > 0; --changes) change_something();
    if (settled_ > 0 && one_in(12)) forget_idempotency();
    commit();
    switch (below(16)) {
      case 0:
      case 1:
        return settle_all();
      case 2:
      case 3:
      case 4:
        return hold_all();
      case 5:
        return settle_or_release();
      case 6:
        return crash();
      default:
        return;
    }
  }

  std::mt19937_64 chance_;
  StoreModel model_;
  std::deque<std::string> texts_;  // that changes point into
  std::map<std::int64_t, std::uint64_t> next_log_;
  std::int64_t sequence_ = 0;
  std::int64_t time_ = 10'000;
  std::int64_t settled_ = 0;  // until when everything is in the tables
  std::uint64_t token_ = 0;
  bool is_held_ = false;
};

TEST_P(JournalModelTest, HoldsWhatTheModelHolds) {
  for (int i = 0; i < kSteps && !HasFailure(); ++i) {
    SCOPED_TRACE("seed " + std::to_string(GetParam()) + ", step " + std::to_string(i));
    step();
    if (one_in(3)) expect_lookups(journal(), model_, Where::pending);
    if (!one_in(10)) continue;
    settle_all();
    expect_lookups(journal(), model_, Where::settled);
    expect_tables(*reader(), model_);
  }
  settle_all();
  expect_lookups(journal(), model_, Where::settled);
  open();
  expect_recovered(journal(), model_, Where::settled);
}

INSTANTIATE_TEST_SUITE_P(Seeds, JournalModelTest, testing::Range<std::uint64_t>(1, 13));

}  // namespace
}  // namespace quern
