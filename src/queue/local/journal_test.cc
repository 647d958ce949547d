#include "queue/local/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "queue/local/journal_fixture.h"
#include "queue/local/output_json.h"
#include "queue/local/schema.h"
#include "queue/local/sqlite.h"

namespace quern {
namespace {

TEST_F(JournalTest, GivesBackEveryFieldOfALiveTask) {
  TaskRow row = make_row(77);
  row.key = KeyIndex{3};
  row.model = ModelIndex{4};
  row.priority = Priority::low;
  row.no_retry = true;
  row.start_deadline = at(5'000'000);
  write([&] { journal().insert_task(row, "{\"a\":\"\\u0000\"}"); });
  EXPECT_EQ(live().at(0).first.start_deadline, row.start_deadline);
  row.state = TaskState::running;
  row.cancel_requested = true;
  row.attempts_started = 2;
  row.lease_token = 99;
  row.start_deadline.reset();
  row.not_before = at(6'000'000);
  write([&] { journal().update_task(row, at(7'000'000)); });
  open();

  ASSERT_EQ(live().size(), 1U);
  const auto [stored, started] = live().at(0);
  EXPECT_EQ(stored.id, row.id);
  EXPECT_EQ(stored.key, row.key);
  EXPECT_EQ(stored.model, row.model);
  EXPECT_EQ(stored.state, TaskState::running);
  EXPECT_EQ(stored.priority, Priority::low);
  EXPECT_TRUE(stored.no_retry);
  EXPECT_TRUE(stored.cancel_requested);
  EXPECT_FALSE(stored.start_timed_out);
  EXPECT_EQ(stored.attempts_started, 2U);
  EXPECT_EQ(stored.rank, row.rank);
  EXPECT_EQ(stored.lease_token, 99U);
  EXPECT_EQ(stored.submitted, row.submitted);
  EXPECT_FALSE(stored.start_deadline);
  EXPECT_EQ(stored.not_before, row.not_before);
  EXPECT_EQ(started, at(7'000'000));
  EXPECT_EQ(journal().input(row.id), "{\"a\":\"\\u0000\"}");
  EXPECT_EQ(journal().last_sequence(), 77);
}

TEST_F(JournalTest, MovesATaskToTheEndedOnesAndBack) {
  TaskRow row = make_row(5);
  write([&] { journal().insert_task(row, "{}"); });
  row.state = TaskState::failed;
  row.ended = at(9'000);
  row.error_type = ErrorType::content_blocked;
  const TaskResult result{.run_time = std::chrono::microseconds{123}, .error = "not this"};
  write([&] { journal().end_task(row, result, encode_outputs(result.outputs), nullptr); });

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

  row = make_row(5);
  write([&] { journal().revive_task(row); });
  EXPECT_EQ(live().size(), 1U);
  EXPECT_FALSE(journal().find_ended(row.id)->has_value());
}

TEST_F(JournalTest, RollsBackAWholeTransaction) {
  journal().begin();
  journal().insert_task(make_row(1), "{}");
  journal().rollback();
  EXPECT_TRUE(live().empty());

  journal().begin();
  journal().insert_task(make_row(1), "{}");
  journal().insert_task(make_row(1), "{}");  // twice the same: refused
  journal().insert_task(make_row(2), "{}");
  const Result<void> done = journal().commit();

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::internal);
  EXPECT_TRUE(live().empty());
  write([&] { journal().insert_task(make_row(3), "{}"); });
  EXPECT_EQ(live().size(), 1U);
}

TEST_F(JournalTest, SaysThatTheDiskIsFullAndWorksAgainWhenItIsNot) {
  ASSERT_TRUE(journal().set_pages_max(1));
  Result<void> done;
  const std::string body(100'000, 'x');
  journal().begin();
  journal().insert_task(make_row(1), body);

  done = journal().commit();

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::unavailable);
  EXPECT_THAT(done.error().message, testing::HasSubstr("the disk is full"));
  EXPECT_TRUE(live().empty());
  ASSERT_TRUE(journal().set_pages_max(0));
  write([&] { journal().insert_task(make_row(1), body); });
  EXPECT_EQ(journal().input(make_id(1))->size(), body.size());
}

TEST_F(JournalTest, KeepsAnInputOfAnySizeThroughAnEndAndARetry) {
  const std::size_t sizes[] = {2, kInlineInputBytesMax, kInlineInputBytesMax + 1, 100'000};
  for (const std::size_t size : sizes) {
    TaskRow row = make_row(static_cast<std::int64_t>(size));
    const std::string input(size, 'x');
    write([&] { journal().insert_task(row, input); });
    EXPECT_EQ(journal().input(row.id), input);
    row.state = TaskState::failed;
    row.ended = at(9'000);
    write([&] { journal().end_task(row, {}, {}, nullptr); });

    write([&] { journal().revive_task(make_row(static_cast<std::int64_t>(size))); });

    EXPECT_EQ(journal().input(row.id), input);
    write([&] {
      journal().end_task(row, {}, {}, nullptr);
      journal().remove_ended(row.id);
    });
    EXPECT_FALSE(journal().input(row.id)) << size;
  }
  Connection connection = Connection::open(file(), Connection::Mode::read_only).value();
  EXPECT_EQ(connection.query_integer("SELECT count(*) FROM input"), 0);
}

TEST_F(JournalTest, KeepsTheAttemptsOfATaskInTheirOrderThroughEndsAndARetry) {
  TaskRow row = make_row(8);
  const AttemptRecord first{.sequence = 8,
                            .token = 11,
                            .number = 1,
                            .started = at(10),
                            .ended = at(20),
                            .result = "lost",
                            .retried = true};
  const auto end = [&](std::uint64_t token, std::uint32_t number, WallTime started,
                       WallTime ended) {
    row.state = TaskState::failed;
    row.ended = ended;
    const AttemptRecord last{.sequence = 8,
                             .token = token,
                             .number = number,
                             .started = started,
                             .ended = ended,
                             .result = "failed",
                             .reason = "exit 1"};
    write([&] { journal().end_task(row, {}, {}, &last); });
  };
  write([&] {
    journal().insert_task(row, "{}");
    journal().insert_attempt(first);
  });

  end(12, 2, at(30), at(40));

  const std::vector<StoredAttempt> ended = reader()->find_ended(row.id)->value().history.attempts;
  ASSERT_EQ(ended.size(), 2U);
  EXPECT_EQ(ended[0].attempt.result, "lost");
  EXPECT_TRUE(ended[0].retried);
  EXPECT_EQ(ended[1].attempt.number, 2U);
  EXPECT_EQ(ended[1].attempt.started, at(30));
  EXPECT_EQ(ended[1].attempt.ended, at(40));
  EXPECT_EQ(ended[1].attempt.result, "failed");
  EXPECT_EQ(ended[1].attempt.reason, "exit 1");
  EXPECT_FALSE(ended[1].retried);

  write([&] { journal().revive_task(make_row(8)); });
  EXPECT_EQ(reader()->history(row.id)->attempts.size(), 2U);

  end(13, 1, at(50), at(60));
  const std::vector<StoredAttempt> again = reader()->find_ended(row.id)->value().history.attempts;
  ASSERT_EQ(again.size(), 3U);
  EXPECT_EQ(again[1].attempt.ended, at(40));
  EXPECT_EQ(again[1].attempt.reason, "exit 1");
  EXPECT_EQ(again[2].attempt.ended, at(60));
}

TEST_F(JournalTest, KnowsOfNoLastAttemptWhereATaskEndedWithoutOne) {
  TaskRow row = make_row(9);
  write([&] {
    journal().insert_task(row, "{}");
    journal().insert_attempt({.sequence = 9, .token = 1, .number = 1, .result = "failed"});
  });
  row.state = TaskState::canceled;
  row.ended = at(50);
  write([&] { journal().end_task(row, {}, {}, nullptr); });

  EXPECT_EQ(reader()->find_ended(row.id)->value().history.attempts.size(), 1U);
  write([&] { journal().revive_task(make_row(9)); });
  EXPECT_EQ(reader()->history(row.id)->attempts.size(), 1U);
}

TEST_F(JournalTest, ReplacesAnOlderIdempotencyRecord) {
  IdempotencyRecord record{.id = make_id(1), .created = at(10)};
  record.fingerprint.fill(7);
  write([&] { journal().insert_idempotency(KeyIndex{2}, "k", record); });
  EXPECT_EQ((*journal().find_idempotency(KeyIndex{2}, "k"))->id, make_id(1));
  EXPECT_EQ((*journal().find_idempotency(KeyIndex{2}, "k"))->fingerprint, record.fingerprint);
  EXPECT_FALSE(journal().find_idempotency(KeyIndex{1}, "k")->has_value());
  record.id = make_id(2);
  record.created = at(20);
  write([&] { journal().insert_idempotency(KeyIndex{2}, "k", record); });

  EXPECT_EQ((*journal().find_idempotency(KeyIndex{2}, "k"))->id, make_id(2));
  write([&] { journal().remove_idempotency(at(20), 10); });
  EXPECT_EQ(journal().oldest_idempotency()->value(), at(20));
  write([&] { journal().remove_idempotency(at(21), 10); });
  EXPECT_FALSE(journal().find_idempotency(KeyIndex{2}, "k")->has_value());
}

TEST_F(JournalTest, KeepsNamesPausesAndTheReserveOfTokens) {
  write([&] {
    journal().insert_key(KeyIndex{0}, "ada");
    journal().insert_key(KeyIndex{1}, "bob");
    journal().insert_model(ModelIndex{0}, "echo");
    journal().insert_model(ModelIndex{1}, "speech");
    journal().set_paused(ModelIndex{1}, true);
    journal().reserve_lease_tokens(1'000);
  });
  open();

  EXPECT_THAT(*journal().key_names(), testing::ElementsAre("ada", "bob"));
  EXPECT_EQ(journal().model_names()->at(1).name, "speech");
  EXPECT_TRUE(journal().model_names()->at(1).paused);
  EXPECT_FALSE(journal().model_names()->at(0).paused);
  EXPECT_EQ(journal().reserved_lease_tokens(), 1'000U);
}

TEST_F(JournalTest, ForgetsATaskWithAllThatBelongsToIt) {
  for (std::int64_t sequence : {1, 2}) {
    write([&] {
      TaskRow row = make_row(sequence);
      journal().insert_task(row, "{}");
      row.state = TaskState::succeeded;
      row.ended = at(100 * sequence);
      TaskResult result;
      result.outputs.push_back({.type = OutputType::image, .file_key = "f"});
      journal().insert_attempt({.sequence = sequence, .token = 1, .number = 1, .result = "failed"});
      const AttemptRecord last{
          .sequence = sequence, .token = 2, .number = 2, .result = "succeeded"};
      journal().end_task(row, result, encode_outputs(result.outputs), &last);
      journal().insert_log(row.id, 0, {at(1), LogSeverity::info, false, "line"});
    });
  }
  EXPECT_EQ(journal().expired(at(100), 10)->size(), 0U);
  const Result<std::vector<ExpiredTask>> expired = journal().expired(at(101), 10);
  ASSERT_EQ(expired->size(), 1U);
  EXPECT_EQ(expired->at(0).id, make_id(1));
  EXPECT_EQ(expired->at(0).outputs.at(0).file_key, "f");

  write([&] { journal().remove_ended(make_id(1)); });

  EXPECT_EQ(journal().oldest_ended()->value(), at(200));
  EXPECT_FALSE(journal().input(make_id(1)));
  const TaskHistory gone = reader()->history(make_id(1)).value();
  EXPECT_TRUE(gone.attempts.empty() && gone.logs.empty());
  const Result<std::optional<EndedRecord>> kept = reader()->find_ended(make_id(2));
  ASSERT_TRUE(kept && *kept);
  EXPECT_EQ((*kept)->history.attempts.size(), 2U);
  EXPECT_EQ((*kept)->history.logs.size(), 1U);
}

}  // namespace
}  // namespace quern
