#include "queue/local/table_writer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "queue/local/change_codec.h"
#include "queue/local/journal_fixture.h"
#include "queue/local/table_lookups.h"
#include "testing/eventually.h"

namespace quern {
namespace {

/// A writer with a redo log, as the journal makes them. What it writes waits at the gate while that
/// is closed.
class TableWriterTest : public testing::Test {
 protected:
  TableWriterTest() {
    std::unique_ptr<Tables> tables = Tables::open(file()).value();
    gate_.install(file());
    lookups_ = TableLookups::open(file()).value();
    log_ =
        RedoLog::open({.folder = folder_.path(), .seed = lookups_->log_position()->seed}).value();
    EXPECT_TRUE(log_->replay(0, [](auto, auto) { return Result<void>(); }));
    writer_ = std::make_unique<TableWriter>(std::move(tables), *log_, 1'000,
                                            std::make_shared<Pending>(), 0);
  }
  ~TableWriterTest() override { gate_.open(); }

  std::filesystem::path file() { return database_in(folder_.path()); }
  static std::string record_of(std::int64_t sequence, std::string_view input = "{}") {
    std::string record;
    encode_change(InsertTask{make_row(sequence), input}, record);
    return record;
  }
  void add(std::int64_t sequence, std::string_view input = "{}") {
    ASSERT_TRUE(writer_->prepare());
    std::string record = record_of(sequence, input);
    const Result<std::uint64_t> number = log_->append(record);
    ASSERT_TRUE(number);
    writer_->add(std::move(record), *number);
  }
  bool is_stored(std::int64_t sequence) { return lookups_->input(make_id(sequence)).has_value(); }
  static bool has(const std::shared_ptr<const Pending>& pending, std::int64_t sequence) {
    return pending && pending->find(make_id(sequence)) != nullptr;
  }

  TableGate gate_;
  TempFolder folder_;
  std::unique_ptr<TableLookups> lookups_;
  std::unique_ptr<RedoLog> log_;
  std::unique_ptr<TableWriter> writer_;
};

TEST_F(TableWriterTest, WritesByItselfAfterAWhile) {
  add(1);

  EXPECT_TRUE(eventually([&] { return is_stored(1); }));
  EXPECT_TRUE(eventually([&] { return !has(writer_->overlay().earlier, 1); }));
  EXPECT_FALSE(has(writer_->overlay().recent, 1));
  EXPECT_GT(writer_->cache_bytes(), 0U);
}

TEST_F(TableWriterTest, GathersWhatComesWhileItIsWriting) {
  gate_.close();
  add(1);
  EXPECT_TRUE(has(writer_->overlay().recent, 1) || has(writer_->overlay().earlier, 1));
  gate_.await_arrival();
  add(2);
  add(3);

  const TableWriter::Overlay during = writer_->overlay();

  EXPECT_TRUE(has(during.earlier, 1));
  EXPECT_FALSE(has(during.earlier, 2));
  EXPECT_TRUE(has(during.recent, 2) && has(during.recent, 3));
  EXPECT_FALSE(has(during.recent, 1));
  EXPECT_FALSE(is_stored(1));
  gate_.open();
  ASSERT_TRUE(writer_->settle());
  EXPECT_TRUE(is_stored(1) && is_stored(2) && is_stored(3));
  EXPECT_EQ(lookups_->log_position()->applied, 3U);
  EXPECT_TRUE(has(during.earlier, 1)) << "who looks keeps what is looked at";
}

TEST_F(TableWriterTest, SettlesAtOnceATaskThatIsNotPending) {
  EXPECT_TRUE(writer_->settle()) << "nothing is";
  gate_.close();
  add(1);
  gate_.await_arrival();
  add(2);

  EXPECT_TRUE(writer_->settle(make_id(3)));

  const auto settle_and_look = [&](std::int64_t sequence, std::atomic<bool>& found) {
    found = writer_->settle(make_id(sequence)) &&
            TableLookups::open(file()).value()->input(make_id(sequence)).has_value();
  };
  std::atomic<bool> found_earlier{false};
  std::atomic<bool> found_recent{false};
  std::jthread earlier([&] { settle_and_look(1, found_earlier); });
  std::jthread recent([&] { settle_and_look(2, found_recent); });
  gate_.open();
  earlier.join();
  recent.join();
  EXPECT_TRUE(found_earlier && found_recent);
}

TEST_F(TableWriterTest, ReleasesAThreadThatWaitsForTheLastOfManyTransactions) {
  gate_.close();
  add(1);
  gate_.await_arrival();
  add(2);
  const std::uint64_t last = 2;
  std::atomic<std::uint64_t> applied{0};
  std::jthread waiting([&] {
    if (writer_->settle()) applied = TableLookups::open(file()).value()->log_position()->applied;
  });

  gate_.open();
  waiting.join();

  EXPECT_EQ(applied, last);
}

// ---- times

class TimedTablesTest : public JournalTest {
 protected:
  TimedTablesTest() {
    options_.times = {.apply = &apply_, .checkpoint = &checkpoint_};
    options_.checkpoint_pages = 1;
    open();
    gate_.install(file());
  }
  ~TimedTablesTest() override { journal_.reset(); }

  static std::uint64_t count_of(const Histogram& times) {
    std::uint64_t count = 0;
    for (std::size_t i = 0; i <= times.bounds().size(); ++i) count += times.bucket(i);
    return count;
  }

  Histogram apply_{latency_bounds()};
  Histogram checkpoint_{latency_bounds()};
};

TEST_F(TimedTablesTest, AreCountedOnceATransactionAndACheckpoint) {
  write(InsertTask{make_row(1), "one"});
  settle();

  EXPECT_EQ(count_of(apply_), 1U);
  EXPECT_GT(apply_.sum(), 0.0);
  EXPECT_TRUE(eventually([&] { return count_of(checkpoint_) == 1; }));
  EXPECT_GT(checkpoint_.sum(), 0.0);
}

TEST_F(TimedTablesTest, AreCountedOfATransactionThatFails) {
  gate_.refuse();
  write(InsertTask{make_row(1), "one"});

  ASSERT_FALSE(journal().settle());

  EXPECT_GE(count_of(apply_), 1U);
  EXPECT_EQ(count_of(checkpoint_), 0U);
  gate_.open();
}

// ---- tables that cannot be written

class UnwritableTablesTest : public JournalTest {
 protected:
  UnwritableTablesTest() { gate_.install(file()); }
};

TEST_F(UnwritableTablesTest, RefuseCommitsUntilTheyTakeThemAgainAndLoseNothing) {
  write(InsertTask{make_row(1), "one"});
  settle();
  gate_.refuse();
  write(InsertTask{make_row(2), "two"}, EndTask{.row = make_ended(1, at(9'000))});

  const Result<void> settled = journal().settle();

  ASSERT_FALSE(settled);
  journal().add(InsertTask{make_row(3), "three"});
  const Result<void> refused = journal().commit();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, settled.error().code);
  EXPECT_EQ(refused.error().message, settled.error().message);
  EXPECT_FALSE(journal().commit());
  EXPECT_FALSE(journal().settle(make_id(2)));
  EXPECT_TRUE(journal().settle(make_id(5))) << "what is not pending is there";
  EXPECT_EQ(journal().input(make_id(2)), "two");
  EXPECT_TRUE(journal().find_ended(make_id(1))->has_value());

  gate_.open();
  write(InsertTask{make_row(4), "four"});

  settle();
  EXPECT_EQ(journal().input(make_id(2)), "two");
  EXPECT_EQ(journal().input(make_id(4)), "four");
  EXPECT_FALSE(journal().input(make_id(3))) << "refused";
  EXPECT_TRUE(reader()->find_ended(make_id(1))->has_value());
}

TEST_F(UnwritableTablesTest, TakeWhatGatheredWhileTheyFailed) {
  gate_.close();
  write(InsertTask{make_row(1), "one"});
  gate_.await_arrival();
  write(InsertTask{make_row(2), "two"});
  gate_.refuse();  // the first fails while the second waits behind it
  ASSERT_FALSE(journal().settle());
  EXPECT_EQ(journal().input(make_id(1)), "one");
  EXPECT_EQ(journal().input(make_id(2)), "two");
  gate_.open();

  settle();

  EXPECT_EQ(query_integer("SELECT count(*) FROM task"), 2);
  write(InsertTask{make_row(3), "three"});
}

TEST_F(UnwritableTablesTest, AreWrittenAfterARestartFromTheLog) {
  gate_.refuse();
  write(InsertTask{make_row(1), "one"});
  ASSERT_FALSE(journal().settle());
  journal_.reset();
  EXPECT_EQ(query_integer("SELECT count(*) FROM task"), 0);

  open();

  EXPECT_EQ(journal().input(make_id(1)), "one");
  EXPECT_EQ(recovered_live().size(), 1U);
  EXPECT_FALSE(journal().commit()) << "they do not take it yet";
  gate_.open();
  write(InsertTask{make_row(2), "two"});
  settle();
  EXPECT_EQ(query_integer("SELECT count(*) FROM task"), 2);
}

TEST_F(UnwritableTablesTest, AreNoReasonToEndWithALoss) {
  gate_.close();
  write(InsertTask{make_row(1), "one"});
  gate_.await_arrival();
  write(InsertTask{make_row(2), "two"});
  gate_.refuse();
  journal_.reset();
  gate_.open();

  open();

  EXPECT_EQ(journal().last_sequence().value(), 2);
  settle();
  EXPECT_EQ(query_integer("SELECT count(*) FROM task"), 2);
}

TEST_F(JournalTest, GoesOnWhileSomebodyElseHoldsTheTablesForAMoment) {
  write();
  settle();
  Connection other = Connection::open(file(), Connection::Mode::read_write).value();
  ASSERT_TRUE(other.execute("BEGIN IMMEDIATE"));

  write(InsertTask{make_row(1), "one"});

  EXPECT_EQ(journal().input(make_id(1)), "one");
  EXPECT_EQ(query_integer("SELECT count(*) FROM task"), 0);
  ASSERT_TRUE(other.execute("COMMIT"));
  settle();
  EXPECT_EQ(query_integer("SELECT count(*) FROM task"), 1);
}

TEST_F(JournalTest, AddsNothingToTheLogBeforeWhatACrashLeftIsSettled) {
  gate_.install(file());
  gate_.close();
  write(InsertTask{make_row(1), "{}"});
  const TempFolder crashed;
  copy_store(folder_->path(), crashed.path());
  release();
  settle();
  gate_.close();
  const std::unique_ptr<Journal> after = Journal::open({.folder = crashed.path()}).value();
  after->end_recovery();
  gate_.await_arrival();
  std::atomic<bool> is_committed{false};
  std::jthread committing([&] { is_committed = after->commit().has_value(); });
  EXPECT_EQ(after->input(make_id(1)), "{}") << "lookups do not wait";
  EXPECT_FALSE(is_committed);

  gate_.open();
  committing.join();

  EXPECT_TRUE(is_committed);
  EXPECT_TRUE(Connection::open(database_in(crashed.path()), Connection::Mode::read_only)
                  ->query_integer("SELECT count(*) FROM task")
                  .value() == 1);
}

// ---- limits

/// Commits tasks with a megabyte of input each, at a gate that is closed.
class HeldBackTest : public JournalTest {
 protected:
  static constexpr std::int64_t kTasks = 40;
  static constexpr auto kHeld = static_cast<std::int64_t>(kPendingBytesMax / 1'000'000);

  HeldBackTest() {
    gate_.install(file());
    gate_.close();
    committing_ = std::jthread([this] {
      while (committed_ < kTasks) {
        journal().add(InsertTask{make_row(committed_ + 1), body_});
        if (!journal().commit()) return;
        ++committed_;
      }
    });
  }
  ~HeldBackTest() override { gate_.open(); }

  bool comes_to(std::int64_t count) {
    return eventually([&] { return committed_ >= count; });
  }

  const std::string body_ = std::string(1'000'000, 'x');
  std::atomic<std::int64_t> committed_{0};
  std::jthread committing_;
};

TEST_F(HeldBackTest, GoesOnOnceTheTablesHaveWhatIsPending) {
  ASSERT_TRUE(comes_to(kHeld));
  EXPECT_LT(committed_, kTasks) << "two generations may be there, not three";

  gate_.open();
  committing_.join();

  EXPECT_EQ(committed_, kTasks);
  settle();
  EXPECT_EQ(query_integer("SELECT count(*) FROM task"), kTasks);
}

TEST_F(HeldBackTest, GoesOnOnceWhatHasGatheredIsBeingWritten) {
  ASSERT_TRUE(comes_to(kHeld));

  gate_.let_one_through();  // the next one, of all that has gathered, waits

  EXPECT_TRUE(comes_to(kHeld + kHeld / 2));
  gate_.open();
  committing_.join();
  settle();
  EXPECT_EQ(query_integer("SELECT count(*) FROM task"), kTasks);
}

TEST_F(HeldBackTest, IsRefusedOnceTheTablesCannotBeWritten) {
  ASSERT_TRUE(comes_to(kHeld));

  gate_.refuse();
  committing_.join();

  EXPECT_LT(committed_, kTasks);
  gate_.open();
  write(InsertTask{make_row(kTasks + 1), body_});
  settle();
  EXPECT_EQ(query_integer("SELECT count(*) FROM task"), committed_ + 1);
}

}  // namespace
}  // namespace quern
