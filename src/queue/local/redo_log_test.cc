// What the log answers: its records, its files' sizes, failing writes.

#include "queue/local/redo_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <string>

#include "queue/local/redo_log_fixture.h"
#include "testing/process_limit.h"

namespace quern {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

TEST_F(RedoLogTest, GivesBackWhatWasAppendedInItsOrder) {
  open();
  EXPECT_THAT(replayed_, IsEmpty());
  EXPECT_EQ(append("one"), 1U);
  EXPECT_EQ(append(""), 2U);
  EXPECT_EQ(append(std::string("t\0o", 3)), 3U);

  open();

  EXPECT_THAT(replayed_, ElementsAre(Pair(1, "one"), Pair(2, ""), Pair(3, std::string("t\0o", 3))));
  EXPECT_EQ(append("four"), 4U);
}

TEST_F(RedoLogTest, GivesBackOnlyWhatComesAfter) {
  open();
  for (const char* content : {"one", "two", "three"}) append(content);

  open(2);
  EXPECT_THAT(replayed_, ElementsAre(Pair(3, "three")));
  open(3);
  EXPECT_THAT(replayed_, IsEmpty());
  EXPECT_EQ(append("four"), 4U);
  open(2);
  EXPECT_THAT(replayed_, ElementsAre(Pair(3, "three"), Pair(4, "four")));
}

TEST_F(RedoLogTest, HandsOnWhatTheCallerAnswers) {
  open();
  append("one");
  log_.reset();

  log_ = RedoLog::open({.folder = folder_.path()}).value();
  const Result<void> done = log_->replay(
      0, [](std::uint64_t, std::string_view) { return fail(ErrorCode::internal, "no"); });

  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message, "no");
}

TEST_F(RedoLogTest, MakesItsFilesForTheirOwnerOnly) {
  open();

  using std::filesystem::perms;
  for (const std::filesystem::path& file : {a(), b()}) {
    EXPECT_EQ(std::filesystem::status(file).permissions(), perms::owner_read | perms::owner_write);
  }
}

TEST_F(RedoLogTest, SaysWhichFileCannotBeOpened) {
  std::filesystem::create_directory(b());

  const auto opened = RedoLog::open({.folder = folder_.path()});

  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::unavailable);
  EXPECT_THAT(opened.error().message, HasSubstr("redo-b: Is a directory"));
}

TEST_F(RedoLogTest, UsesItsFilesInTurnWhenRecordsAreReleased) {
  open();
  for (int i = 0; i < 100; ++i) {
    log().release(append_some());
    EXPECT_FALSE(log().is_full());
  }

  EXPECT_LE(std::filesystem::file_size(a()), 300U * 1024);
  EXPECT_LE(std::filesystem::file_size(b()), 300U * 1024);
  open(98);
  EXPECT_THAT(replayed_, testing::SizeIs(2));
  EXPECT_EQ(append_some(), 101U);
}

TEST_F(RedoLogTest, IsFullWhileNeitherFileCanBeginAnew) {
  open();
  for (int i = 0; i < 5; ++i) append_some();
  EXPECT_FALSE(log().is_full());  // three records in one file, two in the other
  append_some();
  EXPECT_TRUE(log().is_full());
  append_some();  // goes behind the others

  log().release(2);
  EXPECT_TRUE(log().is_full());
  log().release(3);
  EXPECT_FALSE(log().is_full());
  log().release(1);
  EXPECT_FALSE(log().is_full());

  open(2);
  EXPECT_TRUE(log().is_full());
  EXPECT_THAT(replayed_, testing::SizeIs(5));
  log().release(3);
  append_some();
  open(3);
  EXPECT_FALSE(log().is_full());
  EXPECT_THAT(replayed_, testing::SizeIs(5));
}

TEST_F(RedoLogTest, CutsAFileThatGrewBackOnItsNextUse) {
  file_bytes_ = 100'000;
  open();
  const std::string large(3'000'000, 'l');
  EXPECT_EQ(append(large), 1U);
  EXPECT_EQ(append("two"), 2U);
  EXPECT_GT(std::filesystem::file_size(a()), large.size());
  open();
  EXPECT_THAT(replayed_, ElementsAre(Pair(1, large), Pair(2, "two")));

  log().release(1);
  append(std::string(100'000, 'm'));
  append("four");

  const std::size_t in_the_other = 2 * kRedoHeaderBytes + 3 + 100'000;
  EXPECT_EQ(std::filesystem::file_size(a()), in_the_other);
  open(1);
  EXPECT_THAT(replayed_, testing::SizeIs(3));
}

TEST_F(RedoLogTest, KeepsAFileThatGrewWhereTheOtherHasGrownAsMuch) {
  file_bytes_ = 1'000;
  open();
  const std::string large(600'000, 'l');
  append(large);
  append(large);
  const std::uintmax_t size = std::filesystem::file_size(a());
  EXPECT_EQ(std::filesystem::file_size(b()), size);

  log().release(1);
  append("three");

  EXPECT_EQ(std::filesystem::file_size(a()), size);
  open(1);
  EXPECT_THAT(replayed_, ElementsAre(Pair(2, large), Pair(3, "three")));
}

TEST_F(RedoLogTest, MakesAFileLongerAheadOfTime) {
  file_bytes_ = 1024 * 1024;
  open();
  append("one");
  const std::uintmax_t size = std::filesystem::file_size(a());
  EXPECT_GE(size, 256U * 1024);

  for (int i = 0; i < 100; ++i) append_some();

  EXPECT_EQ(std::filesystem::file_size(a()), size);
}

TEST_F(RedoLogTest, AppendsWithoutRoomAhead) {
  open();
  {
    const FileSizeLimit limit(1000);
    append("one");
  }
  EXPECT_EQ(std::filesystem::file_size(a()), kRedoHeaderBytes + 3);
  append("two");
  EXPECT_GE(std::filesystem::file_size(a()), 256U * 1024);

  open();
  EXPECT_THAT(replayed_, ElementsAre(Pair(1, "one"), Pair(2, "two")));
}

TEST_F(RedoLogTest, ForgetsARecordThatCannotBeWritten) {
  open();
  append("one");
  const std::uintmax_t size = std::filesystem::file_size(a());
  {
    const FileSizeLimit limit(size + 1000);
    const Result<std::uint64_t> number = log().append(std::string(size + 1000, 'n'));
    ASSERT_FALSE(number);
    EXPECT_EQ(number.error().code, ErrorCode::unavailable);
    EXPECT_EQ(number.error().retry_after, std::chrono::seconds(1));
    EXPECT_EQ(number.error().message, "the store cannot be written: File too large");
  }

  EXPECT_EQ(std::filesystem::file_size(a()), size);
  EXPECT_EQ(file_bytes(a()).substr(kRedoHeaderBytes + 3, kRedoHeaderBytes),
            std::string(kRedoHeaderBytes, '\0'));
  EXPECT_EQ(append("two"), 2U);
  open();
  EXPECT_THAT(replayed_, ElementsAre(Pair(1, "one"), Pair(2, "two")));
}

TEST_F(RedoLogTest, TriesAgainInThePlaceOfARecordThatFailed) {
  open();
  for (int i = 0; i < 6; ++i) append_some();
  const std::string first_file = file_bytes(a());
  {
    const FileSizeLimit limit(1000);
    ASSERT_FALSE(log().append(std::string(1000, 'n')));
  }
  log().release(6);

  EXPECT_EQ(append_some(), 7U);
  EXPECT_EQ(file_bytes(a()), first_file);
  EXPECT_EQ(append_some(), 8U);
  EXPECT_NE(file_bytes(a()), first_file);
  open(6);
  EXPECT_THAT(replayed_, testing::SizeIs(2));
}

TEST_F(RedoLogTest, FailsAsOnAFullDiskWhenToldTo) {
  open();
  append("one");
  const std::string before = file_bytes(a());

  log().set_disk_full(true);
  const Result<std::uint64_t> number = log().append("two");

  ASSERT_FALSE(number);
  EXPECT_EQ(number.error().code, ErrorCode::unavailable);
  EXPECT_EQ(number.error().message, "the store cannot be written: the disk is full");
  EXPECT_EQ(file_bytes(a()), before);
  log().set_disk_full(false);
  EXPECT_EQ(append("two"), 2U);
}

}  // namespace
}  // namespace quern
