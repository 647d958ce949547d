// The journal's files: of which version they are, what a crash left in the logs.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "queue/local/journal_fixture.h"
#include "queue/local/redo_chain.h"
#include "testing/log_content.h"

namespace quern {
namespace {

// What the store has from version 4 on, and what it had before.
constexpr const char* kBackToVersionThree =
    "ALTER TABLE store DROP COLUMN applied; ALTER TABLE store DROP COLUMN log_seed;"
    "ALTER TABLE store ADD COLUMN probes INTEGER NOT NULL DEFAULT 0;"
    "PRAGMA user_version=3";
// What an ended row has from version 3 on.
constexpr const char* kBackToVersionTwo =
    "ALTER TABLE ended DROP COLUMN last_token; ALTER TABLE ended DROP COLUMN last_number;"
    "ALTER TABLE ended DROP COLUMN last_started; ALTER TABLE ended DROP COLUMN last_result;"
    "ALTER TABLE ended DROP COLUMN last_reason;"
    "PRAGMA user_version=2";
constexpr const char* kBackToVersionOne =
    "ALTER TABLE task DROP COLUMN body; ALTER TABLE ended DROP COLUMN body;"
    "PRAGMA user_version=1";

using Files = std::map<std::string, std::string>;

/// By name, but for SQLite's index of its log, which it makes anew.
Files files_in(const std::filesystem::path& folder) {
  Files found;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".sqlite-shm") continue;
    std::ifstream in(entry.path(), std::ios::binary);
    found[entry.path().filename()] = {std::istreambuf_iterator<char>(in), {}};
  }
  return found;
}

class OldStoreTest : public JournalTest {
 protected:
  /// All that was committed is in the tables, and there is no redo log, as an older program left it.
  void go_back(std::initializer_list<const char*> steps) {
    journal_.reset();
    for (const char* step : steps) execute(step);
    std::filesystem::remove(folder_->path() / "redo-a");
    std::filesystem::remove(folder_->path() / "redo-b");
  }
};

// What version 3 made: no log but SQLite's own.
TEST_F(OldStoreTest, TakesOverAStoreOfVersionThree) {
  write(InsertKey{KeyIndex{0}, "ada"}, InsertTask{make_row(1), "{\"n\":1}"},
        InsertTask{make_row(2), "{}"}, ReserveLeaseTokens{500});
  write(UpdateTask{make_running(1), at(5)},
        EndTask{.row = make_ended(2, at(9'000)), .error = "old"});
  go_back({kBackToVersionThree});

  open();

  EXPECT_EQ(query_integer("PRAGMA user_version"), 4);
  EXPECT_NE(query_integer("SELECT log_seed FROM store"), 0);
  EXPECT_THAT(*journal().key_names(), testing::ElementsAre("ada"));
  EXPECT_EQ(journal().reserved_lease_tokens(), 500U);
  ASSERT_EQ(recovered_live().size(), 1U);
  EXPECT_EQ(recovered_live().at(0).first, make_running(1));
  EXPECT_EQ(recovered_live().at(0).second, at(5));
  EXPECT_EQ(journal().input(make_id(1)), "{\"n\":1}");
  EXPECT_EQ(journal().find_ended(make_id(2))->value().result.error, "old");
  write(EndTask{.row = make_ended(1, at(10'000))}, ReserveLeaseTokens{600});
  settle();
  reopen_after_crash();
  EXPECT_TRUE(recovered_live().empty());
  EXPECT_EQ(journal().reserved_lease_tokens(), 600U);
  EXPECT_EQ(reader()->find_ended(make_id(1))->value().task.row.ended, at(10'000));
}

// The same, killed: its last transactions are in SQLite's log only.
TEST_F(OldStoreTest, TakesOverAStoreOfVersionThreeThatCrashed) {
  go_back({kBackToVersionThree});
  Connection old = Connection::open(file(), Connection::Mode::read_write).value();
  ASSERT_TRUE(old.execute("UPDATE store SET lease_tokens = 700, probes = 3"));
  ASSERT_GT(std::filesystem::file_size(folder_->path() / "queue.sqlite-wal"), 0U);
  const TempFolder crashed;
  for (const char* name : {"queue.sqlite", "queue.sqlite-wal"}) {
    std::filesystem::copy_file(folder_->path() / name, crashed.path() / name);
  }

  const std::unique_ptr<Journal> after = Journal::open({.folder = crashed.path()}).value();

  EXPECT_EQ(after->reserved_lease_tokens(), 700U);
  after->add(InsertTask{make_row(1), "{}"});
  EXPECT_TRUE(after->commit());
}

// What version 2 made: every attempt in a table of its own.
TEST_F(OldStoreTest, TakesOverAStoreOfVersionTwo) {
  write(InsertTask{make_row(3), "{}"},
        InsertAttempt{{.sequence = 3, .token = 1, .number = 1, .result = "failed"}},
        EndTask{.row = make_ended(3, at(9'000))});
  go_back({kBackToVersionThree, kBackToVersionTwo});

  open();

  EXPECT_EQ(reader()->find_ended(make_id(3))->value().history.attempts.size(), 1U);
  write(ReviveTask{make_row(3)});
  write(EndTask{
      .row = make_ended(3, at(9'500)),
      .last = AttemptRecord{.sequence = 3, .token = 2, .number = 2, .result = "succeeded"}});
  EXPECT_EQ(reader()->find_ended(make_id(3))->value().history.attempts.size(), 2U);
}

// What version 1 made: every input in a table of its own.
TEST_F(OldStoreTest, TakesOverAStoreOfVersionOne) {
  write(InsertTask{make_row(3), "{}"});
  journal_.reset();
  execute("INSERT INTO input (seq, body) VALUES (3, '{\"old\":1}')");
  go_back({kBackToVersionThree, kBackToVersionTwo, kBackToVersionOne});

  open();

  ASSERT_EQ(recovered_live().size(), 1U);
  EXPECT_EQ(recovered_live().at(0).first.id, make_id(3));
  EXPECT_EQ(journal().input(make_id(3)), "{\"old\":1}");
  write(EndTask{.row = make_ended(3, at(9'000), TaskState::canceled)});
  settle();
  write(ReviveTask{make_row(3)});
  EXPECT_EQ(journal().input(make_id(3)), "{\"old\":1}");
  settle();
  EXPECT_EQ(journal().input(make_id(3)), "{\"old\":1}");
  write(InsertTask{make_row(4), "{\"new\":2}"});
  EXPECT_EQ(journal().input(make_id(4)), "{\"new\":2}");
}

TEST_F(JournalTest, GivesEachStoreALogOfItsOwn) {
  const auto seed = [](const std::filesystem::path& folder) {
    return Connection::open(database_in(folder), Connection::Mode::read_only)
        ->query_integer("SELECT log_seed FROM store")
        .value();
  };
  gate_.install(file());
  gate_.close();
  write(InsertTask{make_row(1), "{}"});
  const TempFolder other;
  ASSERT_TRUE(Journal::open({.folder = other.path()}));
  EXPECT_NE(seed(folder_->path()), seed(other.path()));
  std::filesystem::copy_file(folder_->path() / "redo-a", other.path() / "redo-a",
                             std::filesystem::copy_options::overwrite_existing);

  const std::unique_ptr<Journal> after = Journal::open({.folder = other.path()}).value();

  EXPECT_EQ(after->last_sequence(), 0) << "another store's records are none of this one";
}

TEST_F(JournalTest, RefusesAStoreOfANewerVersion) {
  execute("PRAGMA user_version=7");

  const Result<std::unique_ptr<Journal>> opened = Journal::open({.folder = folder_->path()});

  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::conflict);
  EXPECT_THAT(opened.error().message, testing::HasSubstr("version 7"));
}

TEST_F(JournalTest, RefusesAFileThatIsNoStore) {
  const TempFolder other;
  std::ofstream(database_in(other.path())) << std::string(100'000, 'q');

  const Result<std::unique_ptr<Journal>> opened = Journal::open({.folder = other.path()});

  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::data_loss);
}

TEST_F(JournalTest, RefusesTablesThatDoNotSayWhatTheyHaveOfTheLog) {
  write(InsertTask{make_row(1), "{}"}, ReserveLeaseTokens{500});
  journal_.reset();
  execute("DELETE FROM store");

  const Result<std::unique_ptr<Journal>> opened = Journal::open({.folder = folder_->path()});

  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::data_loss);
  EXPECT_THAT(opened.error().message,
              testing::HasSubstr("the row of the table `store` is missing"));

  // What docs/OPERATING.md says to do then.
  execute("INSERT INTO store (id, lease_tokens, log_seed) VALUES (0, 1000000000000, random())");
  std::filesystem::remove(folder_->path() / "redo-a");
  std::filesystem::remove(folder_->path() / "redo-b");
  open();
  EXPECT_EQ(recovered_live().size(), 1U);
  EXPECT_EQ(journal().reserved_lease_tokens(), 1'000'000'000'000U);
  write(InsertTask{make_row(2), "{}"});
  settle();
  reopen_after_crash();
  EXPECT_EQ(recovered_live().size(), 2U);
}

TEST_F(JournalTest, WritesNoTablesThatCannotSayWhatTheyHaveOfTheLog) {
  write(InsertTask{make_row(1), "{}"});
  settle();
  execute("DELETE FROM store");
  write(InsertTask{make_row(2), "{}"});

  const Result<void> settled = journal().settle();

  ASSERT_FALSE(settled);
  EXPECT_EQ(settled.error().code, ErrorCode::data_loss);
  EXPECT_EQ(query_integer("SELECT max(seq) FROM task"), 1);
  EXPECT_FALSE(journal().commit()) << "nothing more is accepted";
}

class LostDatabaseTest : public JournalTest {
 protected:
  /// Of a crash: the first task is in SQLite's log, the second in the redo log alone.
  LostDatabaseTest() {
    write(InsertTask{make_row(1), "{}"});
    settle();
    gate_.install(file());
    gate_.close();
    write(InsertTask{make_row(2), "{}"});
    copy_store(folder_->path(), lost());
    gate_.open();
  }
  [[nodiscard]] const std::filesystem::path& lost() const { return lost_.path(); }
  void expect_refused() {
    const Files before = files_in(lost());

    const Result<std::unique_ptr<Journal>> opened = Journal::open({.folder = lost()});

    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::data_loss);
    EXPECT_THAT(opened.error().message, testing::HasSubstr("queue.sqlite is missing or empty"));
    EXPECT_TRUE(files_in(lost()) == before);
  }

  TempFolder lost_;
};

TEST_F(LostDatabaseTest, IsNotTakenForANewStore) {
  std::filesystem::remove(database_in(lost()));
  expect_refused();
  // One byte is empty to SQLite.
  for (const std::string content : {"", "S", "SQLite format 3"}) {
    std::ofstream(database_in(lost())) << content;
    expect_refused();
  }
}

TEST_F(LostDatabaseTest, IsToldByAnyLogThatHoldsSomething) {
  std::filesystem::remove(database_in(lost()));
  std::filesystem::remove(lost() / "redo-a");
  expect_refused();  // SQLite's log, which may be all that an older program left

  std::filesystem::remove(lost() / "queue.sqlite-wal");
  std::ofstream(lost() / "redo-b") << std::string(100, '\0') << "R";
  expect_refused();
}

TEST_F(LostDatabaseTest, IsToldThoughAnEmptyOneTookItsPlace) {
  const auto put_empty_one = [this](const char* mode) {
    for (const char* const name : {"queue.sqlite", "queue.sqlite-wal", "queue.sqlite-shm"}) {
      std::filesystem::remove(lost() / name);
    }
    Connection made = Connection::open(database_in(lost()), Connection::Mode::read_write).value();
    ASSERT_TRUE(made.execute(mode));
    ASSERT_TRUE(made.execute("CREATE TABLE other (a); DROP TABLE other"));
  };
  for (const char* const mode : {"PRAGMA journal_mode=delete", "PRAGMA journal_mode=wal"}) {
    put_empty_one(mode);
    ASSERT_GT(std::filesystem::file_size(database_in(lost())), 100U);
    std::ofstream(lost() / "queue.sqlite-wal", std::ios::app).flush();  // which SQLite may make
    expect_refused();
  }

  std::filesystem::remove(lost() / "redo-a");
  std::filesystem::remove(lost() / "redo-b");
  EXPECT_TRUE(Journal::open({.folder = lost()})) << "nothing but the tables was lost";
}

TEST_F(LostDatabaseTest, IsNoneWhereAFirstStartWasCutShort) {
  for (const char* const name : {"redo-a", "redo-b", "queue.sqlite-wal", "queue.sqlite"}) {
    std::ofstream(lost() / name, std::ios::trunc).flush();
  }
  for (const char* const name : {"queue.sqlite-wal", "redo-b", "redo-a", "queue.sqlite"}) {
    EXPECT_TRUE(Journal::open({.folder = lost()}));
    std::filesystem::remove(lost() / "queue.sqlite-wal");
    std::filesystem::resize_file(database_in(lost()), 0);
    std::filesystem::remove(lost() / name);
  }
  std::ofstream(lost() / "redo-a") << std::string(100'000, '\0');
  EXPECT_TRUE(Journal::open({.folder = lost()}));
}

TEST_F(JournalTest, ChangesNothingUntilTheRecoveryIsOver) {
  write(InsertTask{make_row(1), "{}"});
  settle();
  gate_.install(file());
  gate_.close();
  write(InsertTask{make_row(2), "{}"});
  const TempFolder crashed;
  copy_store(folder_->path(), crashed.path());
  gate_.open();
  const auto stored = [&] {
    return Connection::open(database_in(crashed.path()), Connection::Mode::read_only)
        ->query_integer("SELECT max(seq) FROM task")
        .value();
  };
  const Files before = files_in(crashed.path());

  for (int starts = 0; starts < 2; ++starts) {
    EXPECT_EQ(Journal::open({.folder = crashed.path()}).value()->last_sequence(), 2);
    EXPECT_TRUE(files_in(crashed.path()) == before);
  }
  EXPECT_EQ(stored(), 1);

  Journal::open({.folder = crashed.path()}).value()->end_recovery();
  EXPECT_EQ(stored(), 2);
}

TEST_F(JournalTest, RefusesALogThatLacksWhatTheTablesNeed) {
  gate_.install(file());
  gate_.close();
  write(InsertTask{make_row(1), "{}"});
  const TempFolder crashed;
  const std::filesystem::path log = crashed.path() / "redo-a";
  for (std::int64_t sequence = 2; sequence < 5; ++sequence) {
    write(InsertTask{make_row(sequence), "{}"});
  }
  copy_store(folder_->path(), crashed.path());
  {
    std::fstream damaged(log, std::ios::binary | std::ios::in | std::ios::out);
    damaged.seekp(static_cast<std::streamoff>(sizeof(RedoHeader) + 2));
    damaged << std::string(4, '\x5a');
  }

  const Result<std::unique_ptr<Journal>> opened = Journal::open({.folder = crashed.path()});

  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::data_loss);
}

// ---- crashes -------------------------------------------------------------------------------------

TEST_F(JournalTest, MovesWhatACrashLeftInTheLogsIntoTheDatabaseBeforeItAddsToIt) {
  write(InsertTask{make_row(1), "{}"});
  settle();  // so that it is in SQLite's log
  gate_.install(file());
  gate_.close();
  write(InsertTask{make_row(2), "{}"});  // and this in ours alone
  const TempFolder crashed;
  copy_store(folder_->path(), crashed.path());
  gate_.open();
  const std::filesystem::path log = crashed.path() / "queue.sqlite-wal";
  ASSERT_GT(std::filesystem::file_size(log), 0U);

  const std::unique_ptr<Journal> after = Journal::open({.folder = crashed.path()}).value();
  ASSERT_TRUE(after->commit());

  // Power that fails now may take the logs' old pages: their sync was before the crash, and may
  // have failed.
  EXPECT_EQ(std::filesystem::file_size(log), 0U);
  const TempFolder alone;
  std::filesystem::copy_file(database_in(crashed.path()), database_in(alone.path()));
  const std::unique_ptr<Journal> other = Journal::open({.folder = alone.path()}).value();
  EXPECT_EQ(other->last_sequence(), 2);
}

TEST_F(JournalTest, KeepsWhatIsPendingWhereverACrashComesUpon) {
  gate_.install(file());
  write(InsertTask{make_row(1), "{\"n\":1}"});
  settle();
  gate_.close();
  write(InsertTask{make_row(2), "{\"n\":2}"});
  gate_.await_arrival();  // being written
  write(InsertTask{make_row(3), "{\"n\":3}"});
  reopen_after_crash();

  const Live found = recovered_live();

  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(journal().last_sequence(), 3);
  for (const auto& [row, started] : found) {
    EXPECT_EQ(row, make_row(row.id.sequence()));
    EXPECT_EQ(journal().input(row.id), "{\"n\":" + std::to_string(row.id.sequence()) + "}");
  }
}

TEST_F(JournalTest, EndsAtTheFirstRecordThatIsTorn) {
  gate_.install(file());
  gate_.close();
  write(InsertTask{make_row(1), "{}"});
  const std::uintmax_t one = redo_content_bytes(folder_->path() / "redo-a");
  write(InsertTask{make_row(2), "{}"});
  const std::uintmax_t two = redo_content_bytes(folder_->path() / "redo-a");
  ASSERT_GT(two, one);
  const TempFolder whole;
  copy_store(folder_->path(), whole.path());
  gate_.open();

  for (std::uintmax_t cut = one; cut <= two; ++cut) {
    const TempFolder crashed;
    copy_store(whole.path(), crashed.path());
    std::filesystem::resize_file(crashed.path() / "redo-a", cut);
    const std::unique_ptr<Journal> after = Journal::open({.folder = crashed.path()}).value();
    EXPECT_EQ(after->last_sequence().value(), cut == two ? 2 : 1) << "cut at " << cut;
    after->add(InsertTask{make_row(5), "{}"});
    EXPECT_TRUE(after->commit());
    EXPECT_TRUE(after->settle());
  }
}

}  // namespace
}  // namespace quern
