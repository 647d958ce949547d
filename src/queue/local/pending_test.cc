#include "queue/local/pending.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "queue/local/change_codec.h"
#include "queue/local/journal_fixture.h"

namespace quern {
namespace {

using Stored = PendingTask::Stored;

class PendingTest : public testing::Test {
 protected:
  /// One transaction.
  void merge(std::initializer_list<StoreChange> changes) {
    std::string record;
    for (const StoreChange& change : changes) encode_change(change, record);
    bytes_ += record.size();
    ASSERT_TRUE(pending_.merge(std::move(record)));
  }
  const PendingTask& task(std::int64_t sequence) {
    const PendingTask* const found = pending_.find(make_id(sequence));
    static const PendingTask none;
    EXPECT_NE(found, nullptr) << sequence;
    return found == nullptr ? none : *found;
  }
  const PendingHistory& history(std::int64_t sequence) {
    static const PendingHistory none;
    const PendingTask& found = task(sequence);
    return found.history == nullptr ? none : *found.history;
  }
  static AttemptRecord attempt(std::int64_t sequence, std::uint64_t token) {
    return {.sequence = sequence, .token = token, .number = 1, .result = "failed"};
  }
  static InsertLog line(std::uint64_t number) {
    return {make_id(1), number, at(1), LogSeverity::info, false, "line"};
  }

  Pending pending_;
  std::size_t bytes_ = 0;
};

TEST_F(PendingTest, IsEmptyUntilATransactionComesEvenAnEmptyOne) {
  EXPECT_TRUE(pending_.is_empty());
  EXPECT_EQ(pending_.find(make_id(1)), nullptr);
  EXPECT_EQ(pending_.find_idempotency(KeyIndex{0}, "a"), nullptr);
  EXPECT_FALSE(pending_.first_end());

  merge({});

  EXPECT_FALSE(pending_.is_empty());
  EXPECT_EQ(pending_.bytes(), 0U);
  EXPECT_EQ(pending_.changes(), 0U);
}

TEST_F(PendingTest, CountsWhatItTakesIn) {
  merge({InsertTask{make_row(1), "{}"}, UpdateTask{make_running(1), at(5)}});
  merge({EndTask{.row = make_ended(1, at(9))}});

  EXPECT_EQ(pending_.bytes(), bytes_);
  EXPECT_EQ(pending_.changes(), 3U);
  EXPECT_EQ(pending_.tasks().size(), 1U);
}

TEST_F(PendingTest, FindsEachOfManyTasksAndListsThemByTheirFirstChanges) {
  std::vector<std::int64_t> sequences;
  for (std::int64_t i = 0; i < 5'000; ++i) {
    const std::int64_t sequence = (i % 7 == 0 ? 5'000 - i : 10'000 + i) << 20U;
    sequences.push_back(sequence);
    merge({InsertTask{make_row(sequence), "{}"}});
    if (i % 3 == 0) merge({UpdateTask{make_running(sequences[i / 2]), at(5)}});
  }

  std::vector<std::int64_t> listed;
  for (const PendingTask& task : pending_.tasks()) listed.push_back(task.sequence);
  EXPECT_EQ(listed, sequences);
  for (const std::int64_t sequence : sequences) {
    EXPECT_EQ(task(sequence).row->id, make_id(sequence));
    EXPECT_EQ(pending_.find(make_id(sequence + 1)), nullptr);
  }
}

TEST_F(PendingTest, MakesOneRowOfATaskThatWasCreatedStartedAndEnded) {
  merge({InsertTask{make_row(1), "input"}});
  EXPECT_EQ(task(1).row, make_row(1));
  EXPECT_FALSE(task(1).started);

  merge({UpdateTask{make_running(1), at(5)}});
  EXPECT_EQ(task(1).row, make_running(1));
  EXPECT_EQ(task(1).started, at(5));

  merge({EndTask{.row = make_ended(1, at(9)), .error = "why", .last = attempt(1, 101)}});
  EXPECT_EQ(task(1).stored, Stored::no);
  EXPECT_FALSE(task(1).row);
  EXPECT_FALSE(task(1).started);
  ASSERT_TRUE(task(1).end);
  EXPECT_EQ(task(1).end->error, "why");
  EXPECT_EQ(task(1).input, "input");
  EXPECT_TRUE(history(1).attempts.empty()) << "the last one is in the row";
  EXPECT_EQ(pending_.first_end(), at(9));
}

TEST_F(PendingTest, TellsWhereTheTablesHaveATaskByItsFirstChange) {
  merge({InsertTask{make_row(1), "{}"}, UpdateTask{make_running(2), at(5)},
         EndTask{.row = make_ended(3, at(9))}, ReviveTask{make_row(4)}, RemoveEnded{make_id(5)},
         InsertAttempt{attempt(6, 601)}});
  merge({EndTask{.row = make_ended(1, at(9))}, EndTask{.row = make_ended(2, at(9))},
         ReviveTask{make_row(3)}, EndTask{.row = make_ended(4, at(9))}});

  EXPECT_EQ(task(1).stored, Stored::no);
  EXPECT_EQ(task(2).stored, Stored::live);
  EXPECT_EQ(task(3).stored, Stored::live);
  EXPECT_EQ(task(4).stored, Stored::ended);
  EXPECT_EQ(task(5).stored, Stored::ended);
  EXPECT_EQ(task(6).stored, Stored::live);
}

TEST_F(PendingTest, KeepsTheLastAttemptOfATaskThatIsRevivedAmongTheEarlierOnes) {
  merge({InsertTask{make_row(1), "{}"}, InsertAttempt{attempt(1, 101)},
         EndTask{.row = make_ended(1, at(9)), .last = attempt(1, 102)}});

  merge({ReviveTask{make_row(1)}});

  EXPECT_FALSE(task(1).end);
  EXPECT_EQ(task(1).row, make_row(1));
  ASSERT_EQ(history(1).attempts.size(), 2U);
  EXPECT_EQ(history(1).attempts[0].token, 101U);
  EXPECT_EQ(history(1).attempts[1].token, 102U);
  merge({EndTask{.row = make_ended(1, at(20))}});
  EXPECT_EQ(history(1).attempts.size(), 2U) << "it ended without one";
}

TEST_F(PendingTest, IsAsStoredWhereOnlyLogsOrAttemptsAreAdded) {
  merge({line(0), InsertAttempt{attempt(2, 201)}, InsertTask{make_row(3), "{}"},
         EndTask{.row = make_ended(4, at(9))}, RemoveEnded{make_id(5)}});

  EXPECT_TRUE(task(1).is_as_stored());
  EXPECT_TRUE(task(2).is_as_stored());
  EXPECT_FALSE(task(3).is_as_stored());
  EXPECT_FALSE(task(4).is_as_stored());
  EXPECT_FALSE(task(5).is_as_stored());
}

TEST_F(PendingTest, DropsTheLogsBeforeTheFirstThatIsKept) {
  merge({line(0), line(1), line(2)});
  merge({DropLogs{make_id(1), 2}, line(3)});

  ASSERT_EQ(history(1).logs.size(), 2U);
  EXPECT_EQ(history(1).logs[0].number, 2U);
  EXPECT_EQ(history(1).logs[1].number, 3U);
  EXPECT_EQ(history(1).first_log, 2U);
}

TEST_F(PendingTest, KeepsNothingOfATaskThatIsRemovedButWhereItWas) {
  merge({InsertTask{make_row(1), "{}"}, line(0), InsertAttempt{attempt(1, 101)},
         EndTask{.row = make_ended(1, at(9))}});

  merge({RemoveEnded{make_id(1)}});

  EXPECT_TRUE(task(1).is_removed);
  EXPECT_EQ(task(1).stored, Stored::no);
  EXPECT_FALSE(task(1).row);
  EXPECT_FALSE(task(1).end);
  EXPECT_TRUE(history(1).logs.empty());
  EXPECT_TRUE(history(1).attempts.empty());
}

TEST_F(PendingTest, KnowsTheFirstEnd) {
  merge({EndTask{.row = make_ended(1, at(30))}, EndTask{.row = make_ended(2, at(10))}});
  merge({EndTask{.row = make_ended(3, at(20))}});

  EXPECT_EQ(pending_.first_end(), at(10));
}

TEST_F(PendingTest, KeepsTheLatestIdempotencyRecordOfEachKeyAndName) {
  const auto record = [](std::int64_t sequence) {
    return IdempotencyRecord{.id = make_id(sequence), .created = at(sequence)};
  };
  merge({InsertIdempotency{KeyIndex{1}, "a", record(1)},
         InsertIdempotency{KeyIndex{1}, "1 a", record(2)},
         InsertIdempotency{KeyIndex{11}, "a", record(3)}});
  merge({InsertIdempotency{KeyIndex{1}, "a", record(4)}});

  EXPECT_EQ(pending_.find_idempotency(KeyIndex{1}, "a")->id, make_id(4));
  EXPECT_EQ(pending_.find_idempotency(KeyIndex{1}, "1 a")->id, make_id(2));
  EXPECT_EQ(pending_.find_idempotency(KeyIndex{11}, "a")->id, make_id(3));
  EXPECT_EQ(pending_.find_idempotency(KeyIndex{1}, ""), nullptr);
  EXPECT_EQ(pending_.idempotency().size(), 3U);
}

TEST_F(PendingTest, AddsUpWhatIdempotencyRecordsAreForgotten) {
  merge({RemoveIdempotency{at(20), 5}});
  merge({RemoveIdempotency{at(10), 3}});

  ASSERT_TRUE(pending_.removed_idempotency());
  EXPECT_EQ(pending_.removed_idempotency()->created_before, at(20));
  EXPECT_EQ(pending_.removed_idempotency()->count_max, 8U);
}

TEST_F(PendingTest, KeepsNamesAndPausesInTheirOrderAndTheLastReserve) {
  merge({InsertKey{KeyIndex{0}, "ada"}, InsertModel{ModelIndex{0}, "echo"},
         SetPaused{ModelIndex{0}, true}, ReserveLeaseTokens{10}});
  merge({InsertKey{KeyIndex{1}, "bob"}, SetPaused{ModelIndex{0}, false}, ReserveLeaseTokens{20}});

  ASSERT_EQ(pending_.keys().size(), 2U);
  EXPECT_EQ(pending_.keys()[0].name, "ada");
  EXPECT_EQ(pending_.keys()[1].name, "bob");
  ASSERT_EQ(pending_.models().size(), 1U);
  ASSERT_EQ(pending_.pauses().size(), 2U);
  EXPECT_FALSE(pending_.pauses()[1].paused);
  EXPECT_EQ(pending_.lease_tokens(), 20U);
}

TEST_F(PendingTest, KeepsItsTextsWhileManyMoreTransactionsCome) {
  for (std::int64_t sequence = 1; sequence <= 2'000; ++sequence) {
    merge({InsertTask{make_row(sequence), std::to_string(sequence)}});
  }

  for (std::int64_t sequence = 1; sequence <= 2'000; ++sequence) {
    EXPECT_EQ(task(sequence).input, std::to_string(sequence));
  }
}

TEST_F(PendingTest, RefusesARecordThatIsDamaged) {
  std::string record;
  encode_change(InsertTask{make_row(1), "{}"}, record);
  record.pop_back();

  const Result<void> merged = pending_.merge(std::move(record));

  ASSERT_FALSE(merged);
  EXPECT_EQ(merged.error().code, ErrorCode::data_loss);
}

}  // namespace
}  // namespace quern
