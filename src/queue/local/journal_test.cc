#include "queue/local/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "queue/local/journal_fixture.h"
#include "queue/local/output_json.h"
#include "queue/local/schema.h"

namespace quern {
namespace {

TEST_F(JournalTest, GivesBackEveryFieldOfALiveTask) {
  TaskRow row = make_row(77);
  row.key = KeyIndex{3};
  row.model = ModelIndex{4};
  row.priority = Priority::low;
  row.no_retry = true;
  row.start_deadline = at(5'000'000);
  write(InsertTask{row, "{\"a\":\"\\u0000\"}"});
  EXPECT_EQ(live().at(0).first.start_deadline, row.start_deadline);
  row.state = TaskState::running;
  row.cancel_requested = true;
  row.attempts_started = 2;
  row.lease_token = 99;
  row.start_deadline.reset();
  row.not_before = at(6'000'000);
  write(UpdateTask{row, at(7'000'000)});

  const Live found = live();

  ASSERT_EQ(found.size(), 1U);
  const auto& [stored, started] = found.at(0);
  EXPECT_EQ(stored, row);
  EXPECT_EQ(stored.key, row.key);
  EXPECT_EQ(stored.model, row.model);
  EXPECT_EQ(stored.state, TaskState::running);
  EXPECT_EQ(stored.priority, Priority::low);
  EXPECT_TRUE(stored.no_retry);
  EXPECT_TRUE(stored.cancel_requested);
  EXPECT_FALSE(stored.start_timed_out);
  EXPECT_FALSE(stored.start_deadline);
  EXPECT_EQ(started, at(7'000'000));
  EXPECT_EQ(journal().input(row.id), "{\"a\":\"\\u0000\"}");
  EXPECT_EQ(journal().last_sequence(), 77);
}

TEST_F(JournalTest, MovesATaskToTheEndedOnesAndBack) {
  write(InsertTask{make_row(5), "{}"});
  TaskRow row = make_ended(5, at(9'000));
  row.error_type = ErrorType::content_blocked;
  write(EndTask{.row = row, .run_time = std::chrono::microseconds{123}, .error = "not this"});

  EXPECT_TRUE(live().empty());
  const Result<std::optional<EndedTask>> ended = journal().find_ended(row.id);
  ASSERT_TRUE(ended && *ended);
  EXPECT_EQ((*ended)->row.state, TaskState::failed);
  EXPECT_EQ((*ended)->row.ended, row.ended);
  EXPECT_EQ((*ended)->row.error_type, ErrorType::content_blocked);
  EXPECT_EQ((*ended)->result.error, "not this");
  EXPECT_EQ((*ended)->result.run_time.count(), 123);
  TaskId other = row.id;
  other.low ^= 1U;
  EXPECT_FALSE(journal().find_ended(other)->has_value());

  write(ReviveTask{make_row(5)});
  EXPECT_FALSE(journal().find_ended(row.id)->has_value());
  EXPECT_EQ(live().size(), 1U);
  EXPECT_FALSE(journal().find_ended(row.id)->has_value());
}

TEST_F(JournalTest, KeepsATransactionWholeWhateverIsInIt) {
  journal().add(InsertTask{make_row(1), "{}"});
  journal().add(InsertTask{make_row(2), "{}"});
  EXPECT_EQ(journal().input(make_id(1)).error().code, ErrorCode::not_found) << "not committed yet";
  EXPECT_FALSE(journal().find_ended(make_id(1))->has_value());

  journal().set_disk_full(true);
  EXPECT_FALSE(journal().commit());
  journal().set_disk_full(false);
  EXPECT_FALSE(journal().input(make_id(2)));
  write(InsertTask{make_row(3), "{}"});

  const Live found = live();
  ASSERT_EQ(found.size(), 1U) << "nothing of the transaction that failed is in the next one";
  EXPECT_EQ(found.at(0).first.id, make_id(3));
}

TEST_F(JournalTest, SaysThatTheDiskIsFullAndWorksAgainWhenItIsNot) {
  const std::string body(100'000, 'x');
  journal().set_disk_full(true);
  journal().add(InsertTask{make_row(1), body});

  const Result<void> done = journal().commit();

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::unavailable);
  EXPECT_THAT(done.error().message, testing::HasSubstr("the disk is full"));
  EXPECT_FALSE(journal().commit()) << "an empty transaction tells it too";
  EXPECT_TRUE(live().empty());
  journal().set_disk_full(false);
  write(InsertTask{make_row(1), body});
  EXPECT_EQ(journal().input(make_id(1))->size(), body.size());
}

TEST_F(JournalTest, TakesAnEmptyTransaction) {
  write();
  write(InsertTask{make_row(1), "{}"});
  write();
  settle();
  write();

  EXPECT_EQ(live().size(), 1U);
}

TEST_F(JournalTest, KeepsAnInputOfAnySizeThroughAnEndAndARetry) {
  const std::size_t sizes[] = {0, 2, kInlineInputBytesMax, kInlineInputBytesMax + 1, 100'000};
  for (const std::size_t size : sizes) {
    const auto sequence = static_cast<std::int64_t>(size + 1);
    const std::string input(size, 'x');
    write(InsertTask{make_row(sequence), input});
    settle();
    EXPECT_EQ(journal().input(make_id(sequence)), input);
    write(EndTask{.row = make_ended(sequence, at(9'000))});
    settle();

    write(ReviveTask{make_row(sequence)});

    EXPECT_EQ(journal().input(make_id(sequence)), input);
    settle();
    EXPECT_EQ(journal().input(make_id(sequence)), input);
    write(EndTask{.row = make_ended(sequence, at(9'000))}, RemoveEnded{make_id(sequence)});
    settle();
    EXPECT_FALSE(journal().input(make_id(sequence))) << size;
  }
  EXPECT_EQ(query_integer("SELECT count(*) FROM input"), 0);
}

// No record of the log comes twice; but nothing that a table has may ever hold the log up.
TEST_F(JournalTest, LetsARowThatIsThereGiveWay) {
  const auto insert_three = [&](char filler, WallTime ended) {
    write(InsertTask{make_row(1), std::string(1, filler)},
          InsertTask{make_row(2), std::string(kInlineInputBytesMax + 1, filler)},
          InsertTask{make_row(3), "{}"}, EndTask{.row = make_ended(3, ended)});
    settle();
  };
  const auto ended_at = [&] { return reader()->find_ended(make_id(3))->value().task.row.ended; };
  insert_three('a', at(100));

  insert_three('b', at(200));
  EXPECT_EQ(journal().input(make_id(1)), "b");
  EXPECT_EQ(journal().input(make_id(2)), std::string(kInlineInputBytesMax + 1, 'b'));
  EXPECT_EQ(ended_at(), at(200));

  write(InsertTask{make_row(3), "{}"});
  settle();
  write(EndTask{.row = make_ended(3, at(300))});
  EXPECT_EQ(ended_at(), at(300));

  write(InsertTask{make_row(3), "{}"});
  settle();
  write(ReviveTask{make_row(3)});
  settle();
  EXPECT_EQ(query_integer("SELECT count(*) FROM task"), 3);
  EXPECT_EQ(query_integer("SELECT count(*) FROM ended"), 0);
  EXPECT_EQ(query_integer("SELECT count(*) FROM ended INDEXED BY ended_by_time WHERE ended > 0"),
            0);
}

TEST_F(JournalTest, KeepsTheAttemptsOfATaskInTheirOrderThroughEndsAndARetry) {
  const AttemptRecord first{.sequence = 8,
                            .token = 11,
                            .number = 1,
                            .started = at(10),
                            .ended = at(20),
                            .result = "lost",
                            .retried = true};
  const auto end = [&](std::uint64_t token, std::uint32_t number, WallTime started,
                       WallTime ended) {
    write(EndTask{.row = make_ended(8, ended),
                  .last = AttemptRecord{.sequence = 8,
                                        .token = token,
                                        .number = number,
                                        .started = started,
                                        .ended = ended,
                                        .result = "failed",
                                        .reason = "exit 1"}});
  };
  write(InsertTask{make_row(8), "{}"}, InsertAttempt{first}, UpdateTask{make_row(8), {}});

  end(12, 2, at(30), at(40));

  const std::vector<StoredAttempt> ended =
      reader()->find_ended(make_id(8))->value().history.attempts;
  ASSERT_EQ(ended.size(), 2U);
  EXPECT_EQ(ended[0].attempt.result, "lost");
  EXPECT_TRUE(ended[0].retried);
  EXPECT_EQ(ended[1].attempt.number, 2U);
  EXPECT_EQ(ended[1].attempt.started, at(30));
  EXPECT_EQ(ended[1].attempt.ended, at(40));
  EXPECT_EQ(ended[1].attempt.result, "failed");
  EXPECT_EQ(ended[1].attempt.reason, "exit 1");
  EXPECT_FALSE(ended[1].retried);

  write(ReviveTask{make_row(8)});
  EXPECT_EQ(reader()->history(make_id(8))->attempts.size(), 2U);

  end(13, 1, at(50), at(60));
  const std::vector<StoredAttempt> again =
      reader()->find_ended(make_id(8))->value().history.attempts;
  ASSERT_EQ(again.size(), 3U);
  EXPECT_EQ(again[1].attempt.ended, at(40));
  EXPECT_EQ(again[1].attempt.reason, "exit 1");
  EXPECT_EQ(again[2].attempt.ended, at(60));
}

TEST_F(JournalTest, KeepsTheNewestAttemptsOfATaskThatHasVeryMany) {
  write(InsertTask{make_row(7), "{}"});
  std::uint64_t token = 0;
  const auto give_back = [&](std::size_t times) {
    for (; times > 0; --times) {
      journal().add(InsertAttempt{{.sequence = 7,
                                   .token = ++token,
                                   .number = 1,
                                   .started = at(static_cast<std::int64_t>(token)),
                                   .result = "released"}});
    }
    commit();
    settle();
  };
  const auto firsts = [&] {
    return std::pair(query_integer("SELECT count(*) FROM attempt"),
                     query_integer("SELECT min(token) FROM attempt"));
  };

  give_back(kStoredAttemptsMax);
  EXPECT_EQ(firsts(), std::pair(std::int64_t{kStoredAttemptsMax}, std::int64_t{1}));
  give_back(1);
  EXPECT_EQ(firsts(), std::pair(std::int64_t{kStoredAttemptsMax}, std::int64_t{2}));
  give_back(kStoredAttemptsMax + 5);
  EXPECT_EQ(firsts(),
            std::pair(std::int64_t{kStoredAttemptsMax}, std::int64_t{kStoredAttemptsMax + 7}));

  const auto last =
      AttemptRecord{.sequence = 7, .token = ++token, .number = 1, .result = "succeeded"};
  write(EndTask{.row = make_ended(7, at(9'000), TaskState::succeeded), .last = last});
  const std::vector<StoredAttempt> shown =
      reader()->find_ended(make_id(7))->value().history.attempts;
  ASSERT_EQ(shown.size(), kStoredAttemptsMax + 1);
  EXPECT_EQ(shown.front().attempt.started, at(kStoredAttemptsMax + 7));
  EXPECT_EQ(shown.back().attempt.result, "succeeded");
}

TEST_F(JournalTest, KnowsOfNoLastAttemptWhereATaskEndedWithoutOne) {
  write(InsertTask{make_row(9), "{}"},
        InsertAttempt{{.sequence = 9, .token = 1, .number = 1, .result = "failed"}},
        UpdateTask{make_row(9), {}});
  write(EndTask{.row = make_ended(9, at(50), TaskState::canceled)});

  EXPECT_EQ(reader()->find_ended(make_id(9))->value().history.attempts.size(), 1U);
  write(ReviveTask{make_row(9)});
  EXPECT_EQ(reader()->history(make_id(9))->attempts.size(), 1U);
}

TEST_F(JournalTest, ReplacesAnOlderIdempotencyRecord) {
  IdempotencyRecord record{.id = make_id(1), .created = at(10)};
  record.fingerprint.fill(7);
  write(InsertIdempotency{KeyIndex{2}, "k", record});
  for ([[maybe_unused]] const char* where : {"pending", "settled"}) {
    EXPECT_EQ((*journal().find_idempotency(KeyIndex{2}, "k"))->id, make_id(1)) << where;
    EXPECT_EQ((*journal().find_idempotency(KeyIndex{2}, "k"))->fingerprint, record.fingerprint);
    EXPECT_FALSE(journal().find_idempotency(KeyIndex{1}, "k")->has_value());
    settle();
  }
  record.id = make_id(2);
  record.created = at(20);
  write(InsertIdempotency{KeyIndex{2}, "k", record});

  EXPECT_EQ((*journal().find_idempotency(KeyIndex{2}, "k"))->id, make_id(2));
  settle();
  EXPECT_EQ((*journal().find_idempotency(KeyIndex{2}, "k"))->id, make_id(2));
  write(RemoveIdempotency{at(20), 10});
  settle();
  EXPECT_EQ(journal().oldest_idempotency()->value(), at(20));
  write(RemoveIdempotency{at(21), 10});
  settle();
  EXPECT_FALSE(journal().find_idempotency(KeyIndex{2}, "k")->has_value());
}

TEST_F(JournalTest, FindsTheOldestIdempotencyRecordBehindOneOfAClockThatWasAhead) {
  write(InsertIdempotency{KeyIndex{0}, "a", {.id = make_id(1), .created = at(9'000)}},
        InsertIdempotency{KeyIndex{0}, "b", {.id = make_id(2), .created = at(2)}},
        InsertIdempotency{KeyIndex{0}, "c", {.id = make_id(3), .created = at(3)}});
  settle();

  EXPECT_EQ(journal().oldest_idempotency()->value(), at(2));

  write(RemoveIdempotency{at(100), 10});
  settle();
  EXPECT_EQ(journal().oldest_idempotency()->value(), at(9'000));
}

TEST_F(JournalTest, ForgetsTheOldestIdempotencyRecordsAtMostSoManyAtATime) {
  const auto record = [](std::int64_t sequence) {
    return IdempotencyRecord{.id = make_id(sequence), .created = at(sequence)};
  };
  write(InsertIdempotency{KeyIndex{0}, "a", record(1)},
        InsertIdempotency{KeyIndex{0}, "b", record(2)},
        InsertIdempotency{KeyIndex{0}, "c", record(3)},
        InsertIdempotency{KeyIndex{0}, "d", record(4)});
  settle();
  EXPECT_EQ(journal().oldest_idempotency()->value(), at(1));
  gate_.install(file());
  hold();

  write(RemoveIdempotency{at(10), 1});
  write(RemoveIdempotency{at(10), 2});

  EXPECT_FALSE(journal().oldest_idempotency()->has_value()) << "some are being forgotten";
  release();
  settle();
  EXPECT_EQ(journal().oldest_idempotency()->value(), at(4));
  EXPECT_FALSE(journal().find_idempotency(KeyIndex{0}, "c")->has_value());
  EXPECT_TRUE(journal().find_idempotency(KeyIndex{0}, "d")->has_value());
}

TEST_F(JournalTest, KeepsNamesPausesAndTheReserveOfTokens) {
  write(InsertKey{KeyIndex{0}, "ada"}, InsertKey{KeyIndex{1}, "bob"},
        InsertModel{ModelIndex{0}, "echo"}, InsertModel{ModelIndex{1}, "speech"},
        SetPaused{ModelIndex{1}, true}, ReserveLeaseTokens{1'000});
  open();

  EXPECT_THAT(*journal().key_names(), testing::ElementsAre("ada", "bob"));
  EXPECT_EQ(journal().model_names()->at(1).name, "speech");
  EXPECT_TRUE(journal().model_names()->at(1).paused);
  EXPECT_FALSE(journal().model_names()->at(0).paused);
  EXPECT_EQ(journal().reserved_lease_tokens(), 1'000U);
}

TEST_F(JournalTest, ForgetsATaskWithAllThatBelongsToIt) {
  const std::string outputs = encode_outputs({{{.type = OutputType::image, .file_key = "f"}}});
  for (std::int64_t sequence : {1, 2}) {
    write(InsertTask{make_row(sequence), "{}"},
          InsertAttempt{{.sequence = sequence, .token = 1, .number = 1, .result = "failed"}},
          EndTask{.row = make_ended(sequence, at(100 * sequence), TaskState::succeeded),
                  .outputs = outputs,
                  .last =
                      AttemptRecord{
                          .sequence = sequence, .token = 2, .number = 2, .result = "succeeded"}},
          InsertLog{make_id(sequence), 0, at(1), LogSeverity::info, false, "line"});
  }
  settle();
  EXPECT_EQ(journal().expired(at(100), 10)->tasks.size(), 0U);
  const Result<ExpiredTasks> expired = journal().expired(at(101), 10);
  ASSERT_EQ(expired->tasks.size(), 1U);
  EXPECT_EQ(expired->tasks.at(0).id, make_id(1));
  EXPECT_EQ(expired->tasks.at(0).outputs.at(0).file_key, "f");

  write(RemoveEnded{make_id(1)});
  settle();

  EXPECT_EQ(journal().oldest_ended()->value(), at(200));
  EXPECT_FALSE(journal().input(make_id(1)));
  const TaskHistory gone = reader()->history(make_id(1)).value();
  EXPECT_TRUE(gone.attempts.empty() && gone.logs.empty());
  const Result<std::optional<EndedRecord>> kept = reader()->find_ended(make_id(2));
  ASSERT_TRUE(kept && *kept);
  EXPECT_EQ((*kept)->history.attempts.size(), 2U);
  EXPECT_EQ((*kept)->history.logs.size(), 1U);
}

// ---- large results that expire

class JournalExpiryTest : public JournalTest {
 protected:
  JournalExpiryTest() { gate_.install(file()); }

  /// One that ended with 3 MB of text and a file.
  void add_large(std::int64_t sequence) {
    write(InsertTask{make_row(sequence), "{}"},
          EndTask{.row = make_ended(sequence, at(100 + sequence), TaskState::succeeded),
                  .outputs = outputs_});
  }
  /// The sequences that one look finds.
  std::vector<std::int64_t> look() {
    const ExpiredTasks found = journal().expired(at(1'000), kCount).value();
    is_full_ = found.is_full(kCount);
    std::vector<std::int64_t> sequences;
    for (const ExpiredTask& task : found.tasks) sequences.push_back(task.id.sequence());
    return sequences;
  }

  static constexpr std::size_t kCount = 10;
  const std::string outputs_ =
      encode_outputs({{{.type = OutputType::text, .text = std::string(3'000'000, 'x')},
                       {.type = OutputType::image, .file_key = "f"}}});
  bool is_full_ = false;  // the last look
};

TEST_F(JournalExpiryTest, ReadsNotManyLargeResultsAtOneLook) {
  for (std::int64_t sequence : {1, 2, 3}) add_large(sequence);
  settle();

  EXPECT_THAT(look(), testing::ElementsAre(1, 2));
  EXPECT_TRUE(is_full_);

  write(RemoveEnded{make_id(1)}, RemoveEnded{make_id(2)});
  EXPECT_THAT(look(), testing::ElementsAre(3));
  EXPECT_FALSE(is_full_);
}

TEST_F(JournalExpiryTest, DecodesNotManyLargeResultsThatArePending) {
  hold();
  for (std::int64_t sequence : {1, 2, 3}) add_large(sequence);

  EXPECT_EQ(look().size(), 2U);
  EXPECT_TRUE(is_full_);
}

TEST_F(JournalExpiryTest, ReadsNoResultOfATaskWhoseRemovalIsPending) {
  for (std::int64_t sequence : {1, 2, 3}) add_large(sequence);
  settle();
  hold();
  write(RemoveEnded{make_id(1)}, RemoveEnded{make_id(2)});

  EXPECT_THAT(look(), testing::ElementsAre(3));
  EXPECT_LT(journal().expired(at(1'000), kCount)->bytes_read, 2 * outputs_.size());
  EXPECT_FALSE(is_full_);
}

TEST_F(JournalExpiryTest, KeepsTheFilesAloneOfWhatItReads) {
  add_large(1);
  const auto expect_the_file = [&] {
    const ExpiredTasks found = journal().expired(at(1'000), kCount).value();
    ASSERT_EQ(found.tasks.size(), 1U);
    ASSERT_EQ(found.tasks[0].outputs.size(), 1U);
    EXPECT_EQ(found.tasks[0].outputs[0].file_key, "f");
  };

  expect_the_file();
  settle();
  expect_the_file();
}

// ---- rows that no journal has written

TEST_F(JournalTest, RefusesALiveTaskThatIsDamaged) {
  write(InsertKey{KeyIndex{0}, "ada"}, InsertModel{ModelIndex{0}, "echo"},
        InsertTask{make_row(1), "{}"}, InsertTask{make_row(2), "{}"});
  settle();
  const auto read = [this] { return journal().for_each_live([](const TaskRow&, auto) {}); };
  for (const std::string damaged :
       {"state = 2", "state = 200", "state = -1", "key = -1", "key = 4294967296", "key = 70000",
        "model = -1", "model = 4294967295", "model = 9223372036854775807"}) {
    execute(("UPDATE task SET " + damaged + " WHERE seq = 2").c_str());
    const Result<void> done = read();
    ASSERT_FALSE(done) << damaged;
    EXPECT_EQ(done.error().code, ErrorCode::data_loss);
    EXPECT_EQ(done.error().message, "the stored task " + make_id(2).to_string() + " is damaged");
    execute("UPDATE task SET state = 0, key = 0, model = 0");
    EXPECT_TRUE(read());
  }
  // Of those the store may have lost the names.
  execute("UPDATE task SET key = 65536, model = 30000 WHERE seq = 2");
  EXPECT_TRUE(read());
}

TEST_F(JournalTest, RefusesANameWhoseNumberIsDamaged) {
  write(InsertKey{KeyIndex{0}, "ada"}, InsertModel{ModelIndex{0}, "echo"});
  settle();
  for (const std::string number : {"-1", "4000000000", "65536"}) {
    execute(("UPDATE key_name SET id = " + number).c_str());
    execute(("UPDATE model_name SET id = " + number).c_str());
    ASSERT_FALSE(journal().key_names()) << number;
    EXPECT_EQ(journal().key_names().error().code, ErrorCode::data_loss);
    ASSERT_FALSE(journal().model_names()) << number;
    EXPECT_EQ(journal().model_names().error().message,
              "the number of a stored name is damaged: " + number);
  }
}

}  // namespace
}  // namespace quern
