// Every lookup finds the same wherever a change is: pending in either generation, in the tables, or
// in the log that a crash left. Each scenario is run with every way to split its transactions.

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "queue/local/journal_fixture.h"
#include "queue/local/output_json.h"
#include "queue/local/schema.h"
#include "queue/local/store_model.h"

namespace quern {
namespace {

using Transaction = std::vector<StoreChange>;

struct Scenario {
  const char* name;
  std::vector<Transaction> transactions;

  friend void PrintTo(const Scenario& scenario, std::ostream* out) { *out << scenario.name; }
};

// ---- changes

AttemptRecord attempt(std::int64_t sequence, std::uint32_t number, std::string_view result,
                      bool retried = false) {
  AttemptRecord record{.sequence = sequence,
                       .token = static_cast<std::uint64_t>(sequence) * 100 + number,
                       .number = number,
                       .started = at(1'000 * number),
                       .ended = at(1'000 * number + 500),
                       .result = result,
                       .reason = "exit 1",
                       .retried = retried};
  if (retried) record.retry_at = at(1'000 * number + 900);
  return record;
}

UpdateTask start(std::int64_t sequence, std::uint32_t number = 1) {
  return {make_running(sequence, number), at(1'000 * number)};
}

/// By its attempt `number`; 0: it never ran.
EndTask end(std::int64_t sequence, std::int64_t ended, std::uint32_t number,
            TaskState state = TaskState::failed) {
  static const std::string kOutputs = encode_outputs(
      {{{.type = OutputType::text, .text = "t"}, {.type = OutputType::image, .file_key = "f"}}});
  EndTask end{.row = make_ended(sequence, at(ended), state),
              .run_time = std::chrono::microseconds{ended / 10},
              .error = "error",
              .metadata_json = "{\"m\":1}",
              .outputs = kOutputs};
  if (number > 0) {
    end.last = attempt(sequence, number, "failed");
    end.last->ended = at(ended);
  }
  return end;
}

/// Back in the queue after its attempt `number`.
UpdateTask queue_again(std::int64_t sequence, std::uint32_t number) {
  TaskRow row = make_row(sequence);
  row.attempts_started = number;
  row.not_before = at(1'000 * number + 900);
  return {row, std::nullopt};
}

InsertLog line(std::int64_t sequence, std::uint64_t number, std::string_view message) {
  return {make_id(sequence), number, at(50), LogSeverity::warn, number % 2 == 0, message};
}

InsertIdempotency idempotent(std::int64_t sequence, std::string_view name) {
  InsertIdempotency change{KeyIndex{0}, name, {.id = make_id(sequence), .created = at(sequence)}};
  change.record.fingerprint.fill(static_cast<std::uint8_t>(sequence));
  return change;
}

const std::string kBig(kInlineInputBytesMax + 1, 'b');
const std::string kSmall = "{\"small\":1}";

InsertTask submit(std::int64_t sequence, std::string_view input = kSmall) {
  return {make_row(sequence), input};
}

// ---- scenarios

std::vector<Scenario> scenarios() {
  std::vector<Scenario> all;
  all.push_back({"ALifeWithARetry",
                 {{submit(1)},
                  {start(1)},
                  {InsertAttempt{attempt(1, 1, "lost", true)}, queue_again(1, 1)},
                  {start(1, 2)},
                  {end(1, 9'000, 2, TaskState::succeeded)}}});
  all.push_back({"AnEndAndARevivalAndAnotherEnd",
                 {{submit(1), submit(2, kBig)},
                  {start(1), start(2)},
                  {end(1, 9'000, 1), end(2, 8'000, 1)},
                  {ReviveTask{make_row(1)}, ReviveTask{make_row(2)}},
                  {start(1, 7), start(2, 7)},
                  {end(1, 9'500, 7), end(2, 9'600, 7)}}});
  all.push_back({"ARevivalOfOneThatNeverRan",
                 {{submit(1)},
                  {end(1, 9'000, 0, TaskState::canceled)},
                  {ReviveTask{make_row(1)}},
                  {end(1, 9'700, 0, TaskState::canceled)}}});
  all.push_back({"RevivalsTwice",
                 {{submit(1), end(1, 9'000, 1)},
                  {ReviveTask{make_row(1)}},
                  {end(1, 9'100, 2)},
                  {ReviveTask{make_row(1)}, start(1, 3)},
                  {end(1, 9'200, 3)}}});
  all.push_back({"RemovalsInEachState",
                 {{submit(1), submit(2, kBig), submit(3), submit(4)},
                  {start(1), start(2), end(3, 7'000, 0)},
                  {InsertAttempt{attempt(1, 1, "lost", true)}, queue_again(1, 1),
                   line(2, 0, "zero"), end(2, 8'000, 1)},
                  {end(1, 8'500, 2), RemoveEnded{make_id(3)}},
                  {RemoveEnded{make_id(1)}, RemoveEnded{make_id(2)}}}});
  all.push_back({"ARemovalAfterARevival",
                 {{submit(1, kBig), submit(2)},
                  {end(1, 9'000, 1), end(2, 9'000, 1)},
                  {ReviveTask{make_row(1)}, ReviveTask{make_row(2)}},
                  {end(1, 9'100, 2), end(2, 9'050, 2)},
                  {RemoveEnded{make_id(1)}}}});
  all.push_back({"ALifeInOneTransaction",
                 {{submit(1), start(1), line(1, 0, "a"), end(1, 9'000, 1, TaskState::succeeded)},
                  {submit(2, kBig), end(2, 9'100, 0), RemoveEnded{make_id(2)}},
                  {submit(3, kBig), start(3), end(3, 9'200, 1), ReviveTask{make_row(3)}},
                  {submit(4), end(4, 9'300, 1), ReviveTask{make_row(4)}, end(4, 9'400, 2)}}});
  all.push_back({"Logs",
                 {{submit(1), start(1), line(1, 0, "zero"), line(1, 1, "one")},
                  {line(1, 1, "one again"), line(1, 2, "two"), line(1, 3, "three")},
                  {DropLogs{make_id(1), 2}, line(1, 4, "four")},
                  {line(1, 2, "two again"), line(1, 5, "five")},
                  {end(1, 9'000, 1)}}});
  all.push_back({"LogsThatAreAllDropped",
                 {{submit(1), start(1), line(1, 0, "zero"), line(1, 1, "one")},
                  {DropLogs{make_id(1), 2}, line(1, 2, "two")},
                  {DropLogs{make_id(1), 3}},
                  {DropLogs{make_id(1), 7}, line(1, 7, "seven")}}});
  all.push_back({"LogsOfARevivedTask",
                 {{submit(1), start(1), line(1, 0, "zero")},
                  {line(1, 1, "one"), end(1, 9'000, 1)},
                  {ReviveTask{make_row(1)}},
                  {start(1, 2), line(1, 2, "two")}}});
  all.push_back({"AttemptsAloneAndLogsAlone",
                 {{submit(1), submit(2), start(1), start(2)},
                  {line(1, 0, "zero"), line(2, 0, "zero")},
                  {InsertAttempt{attempt(2, 1, "failed", true)}, queue_again(2, 1)},
                  {line(1, 1, "one")}}});
  all.push_back({"IdempotencyRecords",
                 {{submit(1), idempotent(1, "a"), submit(2), idempotent(2, "b")},
                  {submit(3), idempotent(3, "a")},
                  {submit(4), idempotent(4, "a"), submit(5), idempotent(5, "c")},
                  {submit(6), idempotent(6, "b")}}});
  all.push_back({"NamesAndPausesAndTokens",
                 {{InsertKey{KeyIndex{0}, "ada"}, InsertModel{ModelIndex{0}, "echo"}},
                  {InsertModel{ModelIndex{1}, "speech"}, SetPaused{ModelIndex{0}, true},
                   ReserveLeaseTokens{100}},
                  {InsertKey{KeyIndex{1}, "bob"}, SetPaused{ModelIndex{1}, true},
                   SetPaused{ModelIndex{0}, false}},
                  {SetPaused{ModelIndex{0}, true}, SetPaused{ModelIndex{1}, false},
                   ReserveLeaseTokens{200}}}});
  all.push_back({"ChangesOfOlderTasksAmongNewerOnes",
                 {{submit(1), submit(2), submit(3), submit(4), submit(5)},
                  {start(2), start(4)},
                  {submit(6), end(3, 9'000, 0), submit(8)},
                  {start(1), submit(7, kBig)}}});
  all.push_back(
      {"ManyThatExpire",
       {{submit(1), end(1, 9'000, 1), submit(2), end(2, 9'001, 1), submit(3), end(3, 9'002, 1)},
        {submit(4), end(4, 8'500, 1), RemoveEnded{make_id(2)}},
        {ReviveTask{make_row(3)}, submit(5), end(5, 8'600, 0)},
        {end(3, 9'005, 3), RemoveEnded{make_id(4)}, submit(6), end(6, 8'700, 0)}}});
  return all;
}

class JournalLookups : public JournalTest, public testing::WithParamInterface<Scenario> {
 protected:
  void write_some(std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      for (const StoreChange& change : GetParam().transactions[i]) {
        journal().add(change);
        model_.take(change);
      }
      commit();
    }
  }
  void begin_anew() {
    journal_.reset();
    folder_ = std::make_unique<TempFolder>();
    model_ = {};
    open();
    gate_.install(file());
  }
  /// What a crash at this moment would leave, first while it is being replayed.
  void expect_after_crash() {
    SCOPED_TRACE("after a crash");
    const TempFolder crashed;
    copy_store(folder_->path(), crashed.path());
    std::unique_ptr<Journal> after = Journal::open({.folder = crashed.path()}).value();
    expect_recovered(*after, model_, Where::pending);
    expect_lookups(*after, model_, Where::pending);

    gate_.open();
    ASSERT_TRUE(after->settle());
    expect_recovered(*after, model_, Where::settled);
    expect_lookups(*after, model_, Where::settled);
    expect_tables(*JournalReader::open(database_in(crashed.path())).value(), model_);
  }

  StoreModel model_;
};

TEST_P(JournalLookups, FindTheSameWhereverTheChangesAre) {
  const std::size_t count = GetParam().transactions.size();
  for (std::size_t stored = 0; stored <= count; ++stored) {
    for (std::size_t written = stored; written <= count; ++written) {
      SCOPED_TRACE("stored: " + std::to_string(stored) + ", being written: " +
                   std::to_string(written - stored) + ", of " + std::to_string(count));
      begin_anew();
      write_some(0, stored);
      settle();
      write_some(stored, written);
      hold();
      write_some(written, count);

      expect_lookups(journal(), model_, Where::pending);
      expect_after_crash();
      release();
      settle();
      expect_lookups(journal(), model_, Where::settled);
      expect_tables(*reader(), model_);
      if (HasFailure()) return;  // one way that fails says enough
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, JournalLookups, testing::ValuesIn(scenarios()),
                         [](const auto& named) { return std::string(named.param.name); });

}  // namespace
}  // namespace quern
