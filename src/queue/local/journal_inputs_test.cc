// Inputs of many tasks, read at once.

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "queue/local/journal_fixture.h"
#include "queue/local/schema.h"

namespace quern {
namespace {

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
    for (std::int64_t n = 1; n <= kTasks; ++n) insert(n, bytes);
    commit();
    settle();
  }
  /// In the open transaction.
  void insert(std::int64_t n, std::size_t bytes) {
    journal().add(InsertTask{nth_row(n), body_of(n, bytes)});
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
  for (std::int64_t n = 4; n <= 50; ++n) insert(n, size_of(n));
  write(InsertTask{nth_row(51), ""});
  settle();

  std::vector<std::int64_t> numbers;
  for (std::int64_t n = 4; n <= 51; ++n) numbers.push_back(n);
  const std::vector<Result<std::string>> inputs = inputs_of(numbers);

  for (std::size_t i = 0; i + 1 < inputs.size(); ++i) {
    EXPECT_EQ(inputs[i], body_of(numbers[i], size_of(numbers[i])));
  }
  EXPECT_EQ(inputs.back(), "");
}

TEST_F(JournalInputsTest, ReadsThoseThatArePendingAmongThoseThatAreNot) {
  gate_.install(file());
  const auto size_of = [](std::int64_t n) {
    return n % 4 == 0 ? kInlineInputBytesMax + 1 : std::size_t{50};
  };
  const auto insert_every_third = [&](std::int64_t first) {
    for (std::int64_t n = first; n <= 60; n += 3) insert(n, size_of(n));
    commit();
  };
  insert_every_third(1);
  settle();
  gate_.close();
  insert_every_third(2);
  gate_.await_arrival();
  insert_every_third(3);
  std::vector<std::int64_t> numbers;
  for (std::int64_t n = 60; n >= 1; --n) numbers.push_back(n);
  numbers.push_back(61);

  const std::vector<Result<std::string>> inputs = inputs_of(numbers);

  ASSERT_EQ(inputs.size(), numbers.size());
  for (std::size_t i = 0; i + 1 < inputs.size(); ++i) {
    EXPECT_EQ(inputs[i], body_of(numbers[i], size_of(numbers[i]))) << numbers[i];
  }
  EXPECT_EQ(inputs.back().error().code, ErrorCode::not_found);
}

TEST_F(JournalInputsTest, FailsForThoseAloneThatAreNotThere) {
  for (std::int64_t n = 1; n <= 9; ++n) {
    if (n != 3) insert(n, n == 6 ? 5'000 : 50);
  }
  commit();
  settle();
  execute("DELETE FROM input");

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

}  // namespace
}  // namespace quern
