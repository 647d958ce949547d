// What a crash or a failing disk left in the files, and what the log makes of it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "queue/local/redo_chain.h"
#include "queue/local/redo_log_fixture.h"
#include "testing/seeded_random.h"

namespace quern {
namespace {

using testing::_;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;

TEST_F(RedoLogTest, EndsBeforeARecordThatIsTorn) {
  open();
  append("one");
  append("two");
  const std::string whole = file_bytes(a());
  const std::size_t last = kRedoHeaderBytes + 3;

  for (std::size_t kept = last; kept < last + kRedoHeaderBytes + 3; ++kept) {
    for (const bool has_zeros : {true, false}) {
      std::string torn = whole.substr(0, kept);
      if (has_zeros) torn.resize(whole.size());
      write_file(a(), torn);

      open();
      EXPECT_THAT(replayed_, ElementsAre(Pair(1, "one"))) << kept;
      EXPECT_EQ(append("2"), 2U);
      EXPECT_EQ(append("three"), 3U);
      open();
      EXPECT_THAT(replayed_, ElementsAre(Pair(1, "one"), Pair(2, "2"), Pair(3, "three"))) << kept;
    }
  }
}

TEST_F(RedoLogTest, EndsBeforeARecordWithABitThatIsWrong) {
  open();
  append("one");
  append("two");
  const std::string whole = file_bytes(a());
  const std::size_t last = kRedoHeaderBytes + 3;

  for (std::size_t at = last; at < last + kRedoHeaderBytes + 3; ++at) {
    std::string flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ (1 << (at % 8)));
    write_file(a(), flipped);

    open();
    EXPECT_THAT(replayed_, ElementsAre(Pair(1, "one"))) << at;
    EXPECT_EQ(append("2"), 2U);
    open();
    EXPECT_THAT(replayed_, ElementsAre(Pair(1, "one"), Pair(2, "2"))) << at;
  }
}

TEST_F(RedoLogTest, TakesNothingBehindTheLastRecordForARecord) {
  open();
  append("ONE");
  append("two");
  // A whole record of the number that comes next, but behind another one: a caller's text could hold it.
  const std::string other = file_bytes(a()).substr(kRedoHeaderBytes + 3, kRedoHeaderBytes + 3);
  write_file(a(), "");
  open();
  append("one");
  const std::string one = file_bytes(a()).substr(0, kRedoHeaderBytes + 3);
  const std::string endless = one.substr(0, 4) + std::string(4, '\xff') + one.substr(8);

  for (const std::string& behind : {other, one, endless, std::string(100, 'g'), one.substr(0, 9)}) {
    write_file(a(), one + behind);
    open();
    EXPECT_THAT(replayed_, ElementsAre(Pair(1, "one")));
    EXPECT_EQ(append("two"), 2U);
    open();
    EXPECT_THAT(replayed_, ElementsAre(Pair(1, "one"), Pair(2, "two")));
  }
}

TEST_F(RedoLogTest, TakesTheRecordsOfAnotherStoreForNone) {
  open();
  for (int i = 0; i < 5; ++i) append_some();

  seed_ = 1;
  open(2);
  EXPECT_THAT(replayed_, IsEmpty());
  EXPECT_EQ(append("three"), 3U);
  open(2);
  EXPECT_THAT(replayed_, ElementsAre(Pair(3, "three")));
}

TEST_F(RedoLogTest, TakesAFileForEmptyWhoseFirstRecordIsTorn) {
  open();
  for (int i = 0; i < 6; ++i) append_some();
  const std::string before = file_bytes(a());
  log().release(3);
  append("seven");
  const std::string after = file_bytes(a());

  for (std::size_t written = 0; written < kRedoHeaderBytes + 5; ++written) {
    write_file(a(), after.substr(0, written) + before.substr(written));
    open(3);
    EXPECT_THAT(replayed_, ElementsAre(Pair(4, _), Pair(5, _), Pair(6, _)));
    EXPECT_EQ(append("7"), 7U);
    open(6);
    EXPECT_THAT(replayed_, ElementsAre(Pair(7, "7"))) << written;
  }
}

TEST_F(RedoLogTest, RefusesToGoOnWithoutRecordsThatAreNeeded) {
  open();
  for (int i = 0; i < 6; ++i) append_some();
  log_.reset();
  const std::string first_file = file_bytes(a());

  write_file(a(), "");
  expect_lacks(0, "the first after 0 is 4");
  expect_lacks(2, "the first after 2 is 4");
  open(3);
  EXPECT_THAT(replayed_, SizeIs(3));

  std::string damaged = first_file;
  damaged[kRedoHeaderBytes + 100] = 'd';  // in the second record's header
  write_file(a(), damaged);
  expect_lacks(0, "2 is damaged, and later ones are there");
  expect_lacks(1, "2 is damaged, and later ones are there");
  open(3);
  EXPECT_THAT(replayed_, SizeIs(3));

  write_file(b(), first_file);
  write_file(a(), first_file);
  EXPECT_FALSE(reopen());
}

TEST_F(RedoLogTest, RefusesToGoOnWithARecordThatWasDamagedLater) {
  open();
  for (int i = 0; i < 3; ++i) append_some();
  std::string damaged = file_bytes(a());
  damaged[2 * kRedoHeaderBytes + 150] = 'd';  // in the second record's content
  write_file(a(), damaged);

  expect_lacks(0, "2 is damaged, and later ones are there");
  EXPECT_EQ(file_bytes(a()), damaged);
  open(2);
  EXPECT_THAT(replayed_, SizeIs(1));
}

TEST_F(RedoLogTest, RefusesToGoOnWithAnyBitWrongBeforeTheLastRecord) {
  file_bytes_ = 10'000;
  open();
  for (int i = 0; i < 4; ++i) append_some();
  const std::string whole = file_bytes(a());

  for (std::size_t at = 0; at < 3 * (kRedoHeaderBytes + 100); at += 3) {
    std::string flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ (1 << (at % 8)));
    write_file(a(), flipped);
    const Result<void> done = reopen();
    ASSERT_FALSE(done) << at;
    EXPECT_EQ(done.error().code, ErrorCode::data_loss);
    EXPECT_EQ(file_bytes(a()), flipped);
  }
}

TEST_F(RedoLogTest, RefusesToGoOnWithoutASectorOfRecords) {
  file_bytes_ = 10'000;
  open();
  for (int i = 0; i < 8; ++i) append_some();
  const std::string whole = file_bytes(a());

  for (std::size_t at = 0; at + 512 + 3 * (kRedoHeaderBytes + 100) <= 8 * (kRedoHeaderBytes + 100);
       ++at) {
    std::string lacking = whole;
    lacking.replace(at, 512, 512, '\0');
    write_file(a(), lacking);
    const Result<void> done = reopen();
    ASSERT_FALSE(done) << at;
    EXPECT_EQ(done.error().code, ErrorCode::data_loss);
  }
}

TEST_F(RedoLogTest, PassesOverDamageThatIsNotNeededAnyMore) {
  file_bytes_ = 10'000;
  open();
  for (int i = 0; i < 7; ++i) append_some();
  std::string damaged = file_bytes(a());
  damaged[kRedoHeaderBytes + 100] = 'd';            // the second's header
  damaged[4 * (kRedoHeaderBytes + 100) - 1] = 'd';  // the fourth's content
  damaged[5 * (kRedoHeaderBytes + 100) - 1] = 'd';  // the fifth's
  write_file(a(), damaged);

  expect_lacks(1, "2 is damaged, and later ones are there");
  expect_lacks(2, "4 to 5 are damaged, and later ones are there");
  expect_lacks(4, "4 to 5 are damaged, and later ones are there");
  open(5);
  EXPECT_THAT(replayed_, ElementsAre(Pair(6, _), Pair(7, _)));
  EXPECT_EQ(append("eight"), 8U);
  open(5);
  EXPECT_THAT(replayed_, ElementsAre(Pair(6, _), Pair(7, _), Pair(8, "eight")));
}

TEST_F(RedoLogTest, TakesNothingWithinATornRecordForLaterOnes) {
  file_bytes_ = 100'000;
  open();
  append("one");
  append("two");
  const std::string real = file_bytes(a()).substr(0, 2 * kRedoHeaderBytes + 6);
  std::string text = real;  // whole records, but earlier ones
  for (std::uint64_t number = 3; number < 60; ++number) {
    const RedoHeader fake = make_redo_header({.at = 0, .number = number, .seed = 1},
                                             std::string(kRedoHeaderBytes, 'x'));
    text += bytes_of(fake);
  }
  append(text);
  std::string torn = file_bytes(a());
  torn[real.size() + kRedoHeaderBytes + text.size() - 1] ^= 1;
  write_file(a(), torn);

  open();
  EXPECT_THAT(replayed_, ElementsAre(Pair(1, "one"), Pair(2, "two")));
}

TEST_F(RedoLogTest, GoesOnBehindTheTablesWhenItsFilesAreGone) {
  open(17);
  EXPECT_THAT(replayed_, IsEmpty());
  EXPECT_EQ(append("eighteen"), 18U);
  open(17);
  EXPECT_THAT(replayed_, ElementsAre(Pair(18, "eighteen")));
}

TEST_F(RedoLogTest, RefusesToGoOnWhereItEndsBeforeTheTables) {
  open();
  for (int i = 0; i < 5; ++i) append_some();
  log_.reset();
  const std::string older = file_bytes(a());
  const std::string newer = file_bytes(b());

  expect_lacks(7, "it ends at 5, and the tables have 7");
  for (const std::string& cut : {std::string(), newer.substr(0, 50)}) {
    write_file(b(), cut);
    expect_lacks(5, "it ends at 3, and the tables have 5");
    EXPECT_EQ(file_bytes(a()), older);
    EXPECT_EQ(file_bytes(b()), cut);
  }
  write_file(b(), newer);
  open(5);
  EXPECT_EQ(append_some(), 6U);
}

// One that a start read, and put into the tables, though its sync had failed; then the power failed.
TEST_F(RedoLogTest, GoesOnWhereItLacksTheLastThatTheTablesHave) {
  open();
  for (int i = 0; i < 6; ++i) append_some();
  log().release(3);
  append("seven");
  const std::string whole = file_bytes(a());
  write_file(a(), std::string(kRedoHeaderBytes, '\0') + whole.substr(kRedoHeaderBytes));

  open(7);
  EXPECT_THAT(replayed_, IsEmpty());
  EXPECT_EQ(append("eight"), 8U);
  const std::string in_a = file_bytes(a());
  const std::string in_b = file_bytes(b());
  const bool is_in_a = in_a.find("eight") != std::string::npos;
  for (std::size_t kept = 0; kept < kRedoHeaderBytes + 5; ++kept) {
    // Torn as well.
    const std::string& with_it = is_in_a ? in_a : in_b;
    write_file(is_in_a ? a() : b(), with_it.substr(0, kept));
    open(7);
    EXPECT_THAT(replayed_, IsEmpty()) << kept;
  }
  write_file(a(), in_a);
  write_file(b(), in_b);
  open(7);
  EXPECT_THAT(replayed_, ElementsAre(Pair(8, "eight")));
  EXPECT_FALSE(log().is_full());
}

TEST_F(RedoLogTest, RefusesToGoOnWithoutAFileThatMayHaveHeldLaterRecords) {
  open();
  for (int i = 0; i < 5; ++i) append_some();
  log_.reset();
  const std::string older = file_bytes(a());
  std::filesystem::remove(b());

  for (int starts = 0; starts < 2; ++starts) {
    expect_lacks(1, "redo-b is missing, and may have held those after 3");
    expect_lacks(3, "redo-b is missing, and may have held those after 3");
    EXPECT_EQ(file_bytes(a()), older);
    EXPECT_FALSE(std::filesystem::exists(b()));
  }
}

TEST_F(RedoLogTest, RefusesToGoOnWithoutTheFileThatIsUsedFirst) {
  open();
  append("one");
  log_.reset();
  std::filesystem::remove(a());

  for (int starts = 0; starts < 2; ++starts) {
    expect_lacks(1, "redo-a is missing, and may have held those after 1");
    EXPECT_FALSE(std::filesystem::exists(a()));
  }
}

TEST_F(RedoLogTest, GoesOnWithoutAFileThatHeldNothingNeeded) {
  open();
  append("one");
  log_.reset();
  std::filesystem::remove(b());  // never used
  open(1);
  EXPECT_EQ(append("two"), 2U);
  log_.reset();

  std::filesystem::remove(a());
  std::filesystem::remove(b());
  write_file(a(), "");  // a start made it, and was killed
  open(2);
  for (int i = 0; i < 4; ++i) append_some();
  log_.reset();
  std::filesystem::remove(a());  // its records are the older ones, and the other has room
  open(5);
  EXPECT_THAT(replayed_, ElementsAre(Pair(6, _)));
}

/// What the log has to give back, beside the log.
class RedoLogModelTest : public RedoLogTest {
 protected:
  std::uint64_t below(std::uint64_t limit) { return random_.next_u64() % limit; }

  void append_one() {
    std::string content(8 + (below(20) == 0 ? below(5000) : below(300)), '\0');
    random_.fill(std::as_writable_bytes(std::span(content)));
    const std::uint64_t number = append(content);
    ASSERT_EQ(number, last_ + 1);
    last_ = number;
    records_[number] = content;
  }
  void release_some() {
    released_ += below(last_ - released_ + 1);
    log().release(released_);
    EXPECT_TRUE(released_ < last_ || !log().is_full());
  }
  void restart() {
    open(released_);
    records_.erase(records_.begin(), records_.upper_bound(released_));
    ASSERT_EQ(replayed_, records_);
  }
  /// As if the power had failed while the last record was written.
  void tear_last() {
    if (last_ == released_) return;
    for (const std::filesystem::path& file : {a(), b()}) {
      std::string bytes = file_bytes(file);
      const std::size_t content = bytes.find(records_[last_]);
      if (content == std::string::npos) continue;
      const std::size_t size = kRedoHeaderBytes + records_[last_].size();
      const std::size_t end = content - kRedoHeaderBytes + size;
      const std::size_t lost = 1 + below(size);
      bytes[end - 1] = static_cast<char>(bytes[end - 1] ^ 1);
      random_.fill(std::as_writable_bytes(std::span(bytes).subspan(end - lost, lost - 1)));
      write_file(file, bytes);
    }
    records_.erase(last_--);
  }

  SeededRandom random_{20'261'126};
  std::map<std::uint64_t, std::string> records_;
  std::uint64_t last_ = 0;
  std::uint64_t released_ = 0;
};

TEST_F(RedoLogModelTest, GivesBackWhatItsModelHolds) {
  file_bytes_ = 2'000;
  open();
  for (int round = 0; round < 300 && !HasFatalFailure(); ++round) {
    SCOPED_TRACE(round);
    for (std::uint64_t count = below(6); count > 0; --count) append_one();
    if (below(2) == 0) release_some();
    const bool is_torn = below(8) == 0;
    if (is_torn) tear_last();
    if (is_torn || below(3) == 0) restart();
  }
}

}  // namespace
}  // namespace quern
