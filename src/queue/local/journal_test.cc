#include "queue/local/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <fstream>

#include "queue/local/journal_reader.h"
#include "queue/local/log_reserve.h"
#include "queue/local/output_json.h"
#include "queue/local/result_cache.h"
#include "queue/local/schema.h"
#include "queue/local/sqlite.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

constexpr WallTime at(std::int64_t microseconds) {
  return WallTime{std::chrono::microseconds{microseconds}};
}

TaskId make_id(std::int64_t sequence) { return make_task_id(sequence, 0x0123'4567'89ab'cdefLL); }

TaskRow make_row(std::int64_t sequence) {
  TaskRow row;
  row.id = make_id(sequence);
  row.rank = 0.1 + static_cast<double>(sequence);
  row.submitted = at(1'000 + sequence);
  return row;
}

class JournalTest : public testing::Test {
 protected:
  JournalTest() { open(); }

  void open() {
    journal_.reset();
    Result<std::unique_ptr<Journal>> opened = Journal::open({.file = file()});
    ASSERT_TRUE(opened) << opened.error().message;
    journal_ = *std::move(opened);
  }
  std::filesystem::path file() { return folder_.path() / "queue.sqlite"; }
  Journal& journal() { return *journal_; }
  template <typename Writes>
  void write(Writes writes) {
    journal().begin();
    writes();
    const Result<void> done = journal().commit();
    ASSERT_TRUE(done) << done.error().message;
  }
  std::vector<std::pair<TaskRow, std::optional<WallTime>>> live() {
    std::vector<std::pair<TaskRow, std::optional<WallTime>>> rows;
    const Result<void> done =
        journal().for_each_live([&](const TaskRow& row, std::optional<WallTime> started) {
          rows.emplace_back(row, started);
        });
    EXPECT_TRUE(done);
    return rows;
  }
  std::unique_ptr<JournalReader> reader() { return JournalReader::open(file()).value(); }

  TempFolder folder_;
  std::unique_ptr<Journal> journal_;
};

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

// What an ended row has from version 3 on.
constexpr const char* kDropLastAttempt =
    "ALTER TABLE ended DROP COLUMN last_token; ALTER TABLE ended DROP COLUMN last_number;"
    "ALTER TABLE ended DROP COLUMN last_started; ALTER TABLE ended DROP COLUMN last_result;"
    "ALTER TABLE ended DROP COLUMN last_reason";

// What version 2 made: every attempt in a table of its own.
TEST_F(JournalTest, TakesOverAStoreOfVersionTwo) {
  TaskRow row = make_row(3);
  row.state = TaskState::failed;
  row.ended = at(9'000);
  write([&] {
    journal().insert_task(make_row(3), "{}");
    journal().insert_attempt({.sequence = 3, .token = 1, .number = 1, .result = "failed"});
    journal().end_task(row, {}, {}, nullptr);
  });
  journal_.reset();
  {
    Connection connection = Connection::open(file(), Connection::Mode::read_write).value();
    ASSERT_TRUE(connection.execute(kDropLastAttempt));
    ASSERT_TRUE(connection.execute("PRAGMA user_version=2"));
  }

  open();

  EXPECT_EQ(reader()->find_ended(row.id)->value().history.attempts.size(), 1U);
  write([&] { journal().revive_task(make_row(3)); });
  const AttemptRecord last{.sequence = 3, .token = 2, .number = 2, .result = "succeeded"};
  write([&] { journal().end_task(row, {}, {}, &last); });
  EXPECT_EQ(reader()->find_ended(row.id)->value().history.attempts.size(), 2U);
}

// What version 1 made: every input in a table of its own.
TEST_F(JournalTest, TakesOverAStoreOfVersionOne) {
  TaskRow row = make_row(3);
  write([&] { journal().insert_task(row, "{}"); });
  journal_.reset();
  {
    Connection connection = Connection::open(file(), Connection::Mode::read_write).value();
    ASSERT_TRUE(connection.execute(
        "INSERT INTO input (seq, body) VALUES (3, '{\"old\":1}');"
        "ALTER TABLE task DROP COLUMN body; ALTER TABLE ended DROP COLUMN body;"));
    ASSERT_TRUE(connection.execute(kDropLastAttempt));
    ASSERT_TRUE(connection.execute("PRAGMA user_version=1"));
  }

  open();

  ASSERT_EQ(live().size(), 1U);
  EXPECT_EQ(live().at(0).first.id, row.id);
  EXPECT_EQ(journal().input(row.id), "{\"old\":1}");
  row.state = TaskState::canceled;
  row.ended = at(9'000);
  write([&] { journal().end_task(row, {}, {}, nullptr); });
  write([&] { journal().revive_task(make_row(3)); });
  EXPECT_EQ(journal().input(row.id), "{\"old\":1}");
  write([&] { journal().insert_task(make_row(4), "{\"new\":2}"); });
  EXPECT_EQ(journal().input(make_id(4)), "{\"new\":2}");
}

class JournalInputsTest : public JournalTest {
 protected:
  static constexpr std::int64_t kTasks = 600;

  /// A body of so many bytes that tells its sequence.
  static std::string body_of(std::int64_t sequence, std::size_t bytes) {
    std::string body = std::to_string(sequence) + ' ';
    body.resize(bytes, 'x');
    return body;
  }
  /// Sequences are far from each other, as those of different milliseconds are.
  static TaskId nth(std::int64_t n) { return make_id(n << 20U); }
  static TaskRow nth_row(std::int64_t n) {
    TaskRow row = make_row(0);
    row.id = nth(n);
    return row;
  }
  void fill(std::size_t bytes) {
    write([&] {
      for (std::int64_t n = 1; n <= kTasks; ++n) {
        journal().insert_task(nth_row(n), body_of(n, bytes));
      }
    });
  }
  void change(const char* sql) {
    Connection connection = Connection::open(file(), Connection::Mode::read_write).value();
    ASSERT_TRUE(connection.execute(sql));
  }
  std::vector<Result<std::string>> inputs_of(const std::vector<std::int64_t>& numbers) {
    std::vector<TaskId> ids;
    for (const std::int64_t n : numbers) ids.push_back(nth(n));
    return journal().inputs(ids);
  }
};

TEST_F(JournalInputsTest, ReadsManyWhateverLiesBetweenThem) {
  fill(100);
  EXPECT_TRUE(journal().inputs({}).empty());
  for (const std::int64_t gap : {1, 2, 3, 5, 6, 40, 599}) {
    std::vector<std::int64_t> numbers;
    for (std::int64_t n = 1; n <= kTasks; n += gap) numbers.push_back(n);

    const std::vector<Result<std::string>> inputs = inputs_of(numbers);

    ASSERT_EQ(inputs.size(), numbers.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      EXPECT_EQ(inputs[i], body_of(numbers[i], 100)) << "gap " << gap;
    }
  }
}

TEST_F(JournalInputsTest, AnswersInTheOrderThatWasAsked) {
  fill(100);
  const std::vector<std::int64_t> numbers = {400, 3, 2, 1, 399, 8, 300, 4, 600};

  const std::vector<Result<std::string>> inputs = inputs_of(numbers);

  for (std::size_t i = 0; i < inputs.size(); ++i) EXPECT_EQ(inputs[i], body_of(numbers[i], 100));
}

TEST_F(JournalInputsTest, ReadsInputsThatAreNotInTheirRow) {
  const auto size_of = [](std::int64_t n) {
    return n % 3 == 0 ? kInlineInputBytesMax + 1 : static_cast<std::size_t>(n);
  };
  write([&] {
    for (std::int64_t n = 4; n <= 50; ++n)
      journal().insert_task(nth_row(n), body_of(n, size_of(n)));
    journal().insert_task(nth_row(51), "");
  });

  std::vector<std::int64_t> numbers;
  for (std::int64_t n = 4; n <= 51; ++n) numbers.push_back(n);
  const std::vector<Result<std::string>> inputs = inputs_of(numbers);

  for (std::size_t i = 0; i + 1 < inputs.size(); ++i) {
    EXPECT_EQ(inputs[i], body_of(numbers[i], size_of(numbers[i])));
  }
  EXPECT_EQ(inputs.back(), "");
}

TEST_F(JournalInputsTest, FailsForThoseAloneThatAreNotThere) {
  write([&] {
    for (std::int64_t n = 1; n <= 9; ++n) {
      if (n != 3) journal().insert_task(nth_row(n), body_of(n, n == 6 ? 5'000 : 50));
    }
  });
  change("DELETE FROM input");

  const std::vector<Result<std::string>> inputs = inputs_of({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});

  for (const std::size_t i : {3, 6, 10, 11}) {
    ASSERT_FALSE(inputs[i - 1]) << i;
    EXPECT_EQ(inputs[i - 1].error().code, ErrorCode::not_found);
  }
  for (const std::int64_t n : {1, 2, 4, 5, 7, 8, 9}) {
    EXPECT_EQ(inputs[static_cast<std::size_t>(n - 1)], body_of(n, 50));
  }
}

TEST_F(JournalInputsTest, FailsForThoseAloneThatAreOnADamagedPage) {
  fill(1'000);
  journal_.reset();
  {
    std::fstream store(file(), std::ios::binary | std::ios::in | std::ios::out);
    constexpr std::uintmax_t kPage = 4'096;
    const std::uintmax_t page = std::filesystem::file_size(file()) / kPage / 2;
    store.seekp(static_cast<std::streamoff>(page * kPage));
    store << std::string(kPage, '\x5a');
  }
  open();
  std::vector<std::int64_t> numbers;
  for (std::int64_t n = 1; n <= kTasks; ++n) numbers.push_back(n);

  const std::vector<Result<std::string>> inputs = inputs_of(numbers);

  int damaged = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i]) {
      EXPECT_EQ(inputs[i], body_of(numbers[i], 1'000));
    } else {
      EXPECT_EQ(inputs[i].error().code, ErrorCode::data_loss);
      ++damaged;
    }
  }
  EXPECT_GE(damaged, 1);
  EXPECT_LE(damaged, 4) << "no more than a page holds";
}

TEST_F(JournalInputsTest, LeavesNoReadBehindThatWouldKeepTheLogLong) {
  fill(1'000);
  EXPECT_TRUE(inputs_of({1, 2, 300, 5, 700})[3]);

  Connection other = Connection::open(file(), Connection::Mode::read_write).value();
  ASSERT_TRUE(other.query_integer("SELECT count(*) FROM task"));

  EXPECT_EQ(other.empty_log(), 0);
}

TEST_F(JournalTest, MovesWhatACrashLeftInTheLogIntoTheDatabaseBeforeItAddsToIt) {
  write([&] { journal().insert_task(make_row(1), "{}"); });
  const TempFolder crashed;
  const std::filesystem::path database = crashed.path() / "queue.sqlite";
  const std::filesystem::path log = crashed.path() / "queue.sqlite-wal";
  std::filesystem::copy_file(file(), database);
  std::filesystem::copy_file(folder_.path() / "queue.sqlite-wal", log);
  ASSERT_GT(std::filesystem::file_size(log), 0U);

  const std::unique_ptr<Journal> after = Journal::open({.file = database}).value();

  // Power that fails now may take the log's old pages: their sync was before the crash, and may have failed.
  EXPECT_EQ(std::filesystem::file_size(log), 0U);
  const TempFolder alone;
  std::filesystem::copy_file(database, alone.path() / "queue.sqlite");
  const std::unique_ptr<Journal> other =
      Journal::open({.file = alone.path() / "queue.sqlite"}).value();
  EXPECT_EQ(other->last_sequence(), 1);
}

TEST_F(JournalTest, GrowsTheLogAheadOfItsCommits) {
  const std::filesystem::path log = folder_.path() / "queue.sqlite-wal";
  write([&] { journal().insert_task(make_row(1), "{}"); });
  const std::uintmax_t ahead = std::filesystem::file_size(log);
  EXPECT_GE(ahead, static_cast<std::uintmax_t>(LogReserve::kReserveStepMin));

  write([&] { journal().insert_task(make_row(2), "{}"); });

  EXPECT_EQ(std::filesystem::file_size(log), ahead);
  // What a crash would leave: the zeros behind the last commit are the log's end.
  const TempFolder crashed;
  std::filesystem::copy_file(file(), crashed.path() / "queue.sqlite");
  std::filesystem::copy_file(log, crashed.path() / "queue.sqlite-wal");
  const std::unique_ptr<Journal> after =
      Journal::open({.file = crashed.path() / "queue.sqlite"}).value();
  EXPECT_EQ(after->last_sequence(), 2);
}

TEST_F(JournalTest, GrowsALongLogInStepsThatAreBounded) {
  const std::filesystem::path log = folder_.path() / "queue.sqlite-wal";
  const std::string body(1'000'000, 'x');
  std::int64_t sequence = 0;
  std::uintmax_t largest_step = 0;
  std::uintmax_t before = 0;
  while (sequence < 12) {
    write([&] { journal().insert_task(make_row(++sequence), body); });
    const std::uintmax_t now = std::filesystem::file_size(log);
    largest_step = std::max(largest_step, now - before);
    before = now;
  }

  const auto content = static_cast<std::uintmax_t>(12 * body.size());
  EXPECT_GT(before, content);
  EXPECT_LE(before, content * 11 / 10 + LogReserve::kReserveStepMax);
  EXPECT_LE(largest_step, 2 * static_cast<std::uintmax_t>(LogReserve::kReserveStepMax));
}

TEST_F(JournalTest, RefusesAStoreOfANewerVersion) {
  {
    Connection connection = Connection::open(file(), Connection::Mode::read_write).value();
    ASSERT_TRUE(connection.execute("PRAGMA user_version=7"));
  }

  const Result<std::unique_ptr<Journal>> opened = Journal::open({.file = file()});

  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(opened.error().message, testing::HasSubstr("version 7"));
}

TEST_F(JournalTest, RefusesAFileThatIsNoStore) {
  const std::filesystem::path other = folder_.path() / "other.sqlite";
  std::ofstream(other) << std::string(100'000, 'q');

  const Result<std::unique_ptr<Journal>> opened = Journal::open({.file = other});

  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::data_loss);
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

TEST(OutputJson, RefusesWhatItDidNotMake) {
  for (const char* text : {"{", "{}", "[1]", "[{}"}) {
    const Result<std::vector<Output>> outputs = decode_outputs(text);
    ASSERT_FALSE(outputs) << text;
    EXPECT_EQ(outputs.error().code, ErrorCode::data_loss);
  }
  EXPECT_TRUE(decode_outputs("")->empty());
}

TEST(OutputJson, KeepsOddNumbersAndTexts) {
  Output output{.type = OutputType::audio, .file_name = "a\"b\\c\n.wav", .duration = 0.1};
  output.text = std::string("tab\tnul\0end", 11);

  const std::vector<Output> back = decode_outputs(encode_outputs({&output, 1})).value();

  EXPECT_EQ(back.at(0).file_name, output.file_name);
  EXPECT_EQ(back.at(0).duration, 0.1);
  EXPECT_EQ(back.at(0).text, output.text);
}

EndedView make_view(std::int64_t sequence, std::size_t bytes = 10) {
  EndedView view;
  view.head.id = make_id(sequence);
  view.metadata_json = std::string(bytes, 'x');
  return view;
}

TEST(ResultCache, DropsTheLeastRecentlyUsed) {
  ResultCache cache(16 * 100'000);  // shards are by sequence modulo 16: 100,000 bytes each
  for (std::int64_t i = 1; i <= 20; ++i) {
    cache.put(make_view(16 * i, 10'000));
    EXPECT_TRUE(cache.find(make_id(16)));  // in use all the time
  }

  EXPECT_TRUE(cache.find(make_id(16)));
  EXPECT_FALSE(cache.find(make_id(32)));
  EXPECT_TRUE(cache.find(make_id(320)));
}

TEST(ResultCache, TakesNoReadThatAnEraseMayHaveOvertaken) {
  ResultCache cache(1'000'000);
  const ResultCache::Epoch before = cache.epoch(make_id(1));
  cache.erase(make_id(1));

  cache.put_read(std::make_shared<EndedView>(make_view(1)), before);
  EXPECT_FALSE(cache.find(make_id(1)));

  cache.put_read(std::make_shared<EndedView>(make_view(1)), cache.epoch(make_id(1)));
  EXPECT_TRUE(cache.find(make_id(1)));
}

}  // namespace
}  // namespace quern
