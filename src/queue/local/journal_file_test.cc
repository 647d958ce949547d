// The journal's file: of which version it is, what a crash left in its log, how the log grows.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "queue/local/journal_fixture.h"
#include "queue/local/log_reserve.h"
#include "queue/local/sqlite.h"

namespace quern {
namespace {

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

}  // namespace
}  // namespace quern
