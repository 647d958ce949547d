// What keeps the logs short: checkpoints of SQLite's log, after which the redo log begins anew.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "queue/local/journal_fixture.h"
#include "testing/eventually.h"

namespace quern {
namespace {

class CheckpointTest : public JournalTest {
 protected:
  static constexpr std::uintmax_t kLogBytes = 64 * 1024;

  CheckpointTest() {
    options_.checkpoint_pages = 10;
    options_.log_bytes = kLogBytes;
    open();
    gate_.install(file());
  }
  /// Tasks in transactions of their own; they are `last_` in all.
  void insert(std::int64_t count, std::size_t bytes) {
    const std::string body(bytes, 'x');
    for (std::int64_t i = 0; i < count; ++i) write(InsertTask{make_row(++last_), body});
  }
  [[nodiscard]] std::uintmax_t size_of(const char* name) const {
    return std::filesystem::file_size(folder_->path() / name);
  }

  std::int64_t last_ = 0;
};

TEST_F(CheckpointTest, MoveSQLitesLogIntoTheDatabaseWithoutBeingAskedFor) {
  const std::uintmax_t before = size_of("queue.sqlite");

  insert(200, 500);

  EXPECT_TRUE(eventually([&] { return size_of("queue.sqlite") > before; }));
}

TEST_F(CheckpointTest, KeepEveryLogShortHoweverManyCommitsThereAre) {
  constexpr int kRounds = 40;
  std::uintmax_t redo_bytes_max = 0;
  std::uintmax_t wal_bytes_max = 0;
  for (int round = 0; round < kRounds; ++round) {
    insert(50, 4'000);
    settle();
    redo_bytes_max = std::max(redo_bytes_max, size_of("redo-a") + size_of("redo-b"));
    wal_bytes_max = std::max(wal_bytes_max, size_of("queue.sqlite-wal"));
  }

  // In all it was 8 MB. A file is made longer by 256 KiB at a time; a checkpoint may end after the
  // next commits have begun.
  EXPECT_LT(redo_bytes_max, 2'000'000U);
  EXPECT_LT(wal_bytes_max, 3'000'000U);
  hold();
  reopen_after_crash();
  EXPECT_EQ(recovered_live().size(), static_cast<std::size_t>(last_));
}

TEST_F(CheckpointTest, LeaveInTheRedoLogWhatThePowerMayTakeFromTheTables) {
  for (int round = 0; round < 12; ++round) {
    insert(30, 2'000);
    settle();
    insert(5, 100);
    hold();  // so that no checkpoint is at it
    insert(2, 100);
    const TempFolder after_power_cut;  // SQLite's log was not synced
    for (const char* name : {"queue.sqlite", "redo-a", "redo-b"}) {
      std::filesystem::copy_file(folder_->path() / name, after_power_cut.path() / name);
    }
    release();

    const std::unique_ptr<Journal> after =
        Journal::open({.folder = after_power_cut.path(), .log_bytes = kLogBytes}).value();

    EXPECT_EQ(after->last_sequence().value(), last_);
    std::int64_t live = 0;
    ASSERT_TRUE(after->for_each_live([&](const TaskRow&, auto) { ++live; }));
    EXPECT_EQ(live, last_);
  }
}

TEST_F(CheckpointTest, AreFinishedOnceAReaderLetsGo) {
  insert(1, 100);
  settle();
  Connection reading = Connection::open(file(), Connection::Mode::read_only).value();
  ASSERT_TRUE(reading.execute("BEGIN"));
  ASSERT_EQ(reading.query_integer("SELECT count(*) FROM task").value(), 1);
  for (int round = 0; round < 10; ++round) {
    insert(50, 4'000);
    settle();
  }
  // It needs what is in the log, and the redo log has all that is there alone.
  EXPECT_GT(size_of("queue.sqlite-wal"), 2'000'000U);
  EXPECT_GT(size_of("redo-a") + size_of("redo-b"), 2'000'000U);
  EXPECT_EQ(reading.query_integer("SELECT count(*) FROM task").value(), 1);

  ASSERT_TRUE(reading.execute("COMMIT"));

  EXPECT_TRUE(eventually([&] {
    insert(20, 4'000);
    settle();
    return size_of("redo-a") + size_of("redo-b") < 2'000'000U;
  }));
}

TEST(ConnectionCheckpoint, SaysThatItKnowsOfNoLogInsteadOfCopyingNothing) {
  const TempFolder folder;
  const auto journal = Journal::open({.folder = folder.path()}).value();
  ASSERT_TRUE(journal->commit());
  ASSERT_TRUE(journal->settle());
  Connection connection =
      Connection::open(database_in(folder.path()), Connection::Mode::read_write).value();

  const Result<bool> blind = connection.checkpoint();
  ASSERT_FALSE(blind);
  EXPECT_EQ(blind.error().code, ErrorCode::internal);

  ASSERT_TRUE(connection.query_integer("PRAGMA schema_version"));
  const Result<bool> all = connection.checkpoint();
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_TRUE(*all);
}

TEST(ConnectionCheckpoint, SaysWhetherAReaderStillNeedsTheLog) {
  const TempFolder folder;
  const auto journal = Journal::open({.folder = folder.path()}).value();
  ASSERT_TRUE(journal->commit());
  const std::filesystem::path file = database_in(folder.path());
  Connection reading = Connection::open(file, Connection::Mode::read_only).value();
  ASSERT_TRUE(reading.execute("BEGIN"));
  ASSERT_TRUE(reading.query_integer("SELECT count(*) FROM task"));
  journal->add(InsertTask{make_row(1), "{}"});
  ASSERT_TRUE(journal->commit());
  ASSERT_TRUE(journal->settle());
  Connection connection = Connection::open(file, Connection::Mode::read_write).value();
  ASSERT_TRUE(connection.query_integer("PRAGMA schema_version"));

  EXPECT_FALSE(connection.checkpoint().value());
  ASSERT_TRUE(reading.execute("COMMIT"));
  EXPECT_TRUE(connection.checkpoint().value());
}

}  // namespace
}  // namespace quern
