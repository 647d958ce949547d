#include "api/upload_parts.h"

#include <gtest/gtest.h>

#include <chrono>
#include <latch>
#include <optional>
#include <stdexcept>
#include <thread>

#include "artifact/artifact_store_fixture.h"
#include "testing/process_limit.h"

namespace quern::api {
namespace {

class UploadPartsTest : public ArtifactStoreTest {
 protected:
  static constexpr std::uint64_t kWholeBytesMax = 10;

  void put_part(std::uint32_t part, const std::string& bytes) {
    upload(std::string(kUploadPartName), bytes, links_.file_key("nonce", part));
  }
  void ask_for_whole(std::vector<std::uint32_t> parts, UploadAssembler::Done done) {
    assembler_.assemble({"nonce", "whole.txt", std::move(parts)}, kWholeBytesMax, std::move(done));
  }
  Result<Output> whole_of(std::vector<std::uint32_t> parts) {
    std::optional<Result<Output>> whole;
    ask_for_whole(std::move(parts), [&](Result<Output> made) { whole = std::move(made); });
    return std::move(whole).value();
  }
  /// As if it had been written so much earlier, or later if negative.
  void age(std::string_view key, std::string_view name, std::chrono::seconds by) const {
    const auto path = store_->find_path(key, name);
    ASSERT_TRUE(path);
    fs::last_write_time(*path, fs::last_write_time(*path) - by);
  }
  /// Whether a file was begun in the folder that date_back() dated.
  [[nodiscard]] bool has_begun_a_file(fs::file_time_type dated_back) const {
    return fs::last_write_time(temp_.path() / "data/temp") != dated_back;
  }
  [[nodiscard]] fs::file_time_type date_back() const {
    const fs::path folder = temp_.path() / "data/temp";
    fs::last_write_time(folder, fs::last_write_time(folder) - std::chrono::hours(1));
    return fs::last_write_time(folder);
  }
  bool has_part(std::uint32_t part) const {
    return store_->find_path(links_.file_key("nonce", part), kUploadPartName).has_value();
  }

  const UploadLinks links_{"secret", random_};
  UploadSizes sizes_{kWholeBytesMax, std::chrono::hours(1)};
  UploadAssembler assembler_{*store_, links_, sizes_};
};

TEST_F(UploadPartsTest, MakesOneFileOfThemInTheirOrderAndFindsItAgain) {
  put_part(7, "end");
  put_part(1, "begin, ");
  for (int time = 1; time <= 2; ++time) {
    const auto whole = whole_of({1, 7});
    ASSERT_TRUE(whole) << whole.error().message;
    EXPECT_EQ(whole->file_name, "whole.txt");
    EXPECT_EQ(whole->file_bytes, 10U);
    EXPECT_EQ(content(*whole), "begin, end");
    EXPECT_FALSE(has_part(1) || has_part(7)) << time;
  }
}

TEST_F(UploadPartsTest, SaysWhichPartWasNotUploadedAndKeepsTheOthers) {
  put_part(1, "here");
  const auto whole = whole_of({1, 2});
  ASSERT_FALSE(whole);
  EXPECT_EQ(whole.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(whole.error().message, "Part 2 was not uploaded");
  EXPECT_TRUE(has_part(1));
}

// It came while the parts were removed.
TEST_F(UploadPartsTest, FindsTheWholeThatACrashLeftWithSomeOfItsParts) {
  put_part(1, "a");
  put_part(2, "b");
  put_part(3, "c");
  ASSERT_TRUE(whole_of({1, 2, 3}));
  put_part(1, "a");
  put_part(2, "b");
  for (const std::uint32_t part : {1U, 2U})
    age(links_.file_key("nonce", part), kUploadPartName, std::chrono::seconds(60));

  const auto whole = whole_of({1, 2, 3});

  ASSERT_TRUE(whole) << whole.error().message;
  EXPECT_EQ(content(*whole), "abc");
  EXPECT_FALSE(has_part(1) || has_part(2));
}

TEST_F(UploadPartsTest, SaysWhatIsMissingBesideAPartThatIsNewerThanTheWhole) {
  put_part(1, "a");
  put_part(2, "b");
  ASSERT_TRUE(whole_of({1, 2}));
  age(links_.file_key("nonce"), "whole.txt", std::chrono::seconds(60));
  put_part(1, "A");

  const auto whole = whole_of({1, 2});

  ASSERT_FALSE(whole);
  EXPECT_EQ(whole.error().message, "Part 2 was not uploaded");
  EXPECT_TRUE(has_part(1));
}

TEST_F(UploadPartsTest, GivesTheSameWholeToAllWhoAskAtOnce) {
  constexpr int kCallers = 4;
  for (int round = 0; round < 50; ++round) {
    for (std::uint32_t part = 1; part <= 5; ++part) put_part(part, "ab");
    std::latch all_there(kCallers);
    std::array<std::string, kCallers> said;
    {
      std::vector<std::jthread> callers;
      for (std::string& mine : said) {
        callers.emplace_back([&] {
          all_there.arrive_and_wait();
          ask_for_whole({1, 2, 3, 4, 5}, [&](const Result<Output>& whole) {
            mine = whole ? content(*whole) : whole.error().message;
          });
        });
      }
    }
    for (const std::string& each : said) ASSERT_EQ(each, "ababababab") << round;
  }
}

TEST_F(UploadPartsTest, MakesRoomForOtherPartsOnceItHasMadeAWhole) {
  put_part(1, "abc");
  auto growing = sizes_.begin("nonce", 1, {});
  ASSERT_TRUE(growing.grow(3));
  growing.keep();
  auto other = sizes_.begin("nonce", 2, {});
  ASSERT_TRUE(other.grow(10));
  EXPECT_EQ(sizes_.begin("nonce", 3, {}).room(), 7U);

  ASSERT_TRUE(whole_of({1}));

  EXPECT_EQ(sizes_.begin("nonce", 3, {}).room(), 10U);
}

TEST_F(UploadPartsTest, RefusesAWholeThatIsTooLargeAndKeepsItsParts) {
  put_part(1, "begin, ");
  put_part(2, "over");
  const auto whole = whole_of({1, 2});
  ASSERT_FALSE(whole);
  EXPECT_EQ(whole.error().code, ErrorCode::too_large);
  EXPECT_TRUE(has_part(1) && has_part(2));
}

TEST_F(UploadPartsTest, BeginsNoFileForAWholeThatItRefuses) {
  put_part(1, "here");
  put_part(3, "too large");
  const auto quiet = date_back();

  EXPECT_FALSE(whole_of({1, 2}));
  EXPECT_FALSE(whole_of({1, 3}));
  EXPECT_FALSE(has_begun_a_file(quiet));

  EXPECT_TRUE(whole_of({1}));
  EXPECT_TRUE(has_begun_a_file(quiet));
}

TEST_F(UploadPartsTest, LetsNobodyWaitForAnotherCallOfTheSameUpload) {
  put_part(1, "a");
  std::vector<Result<Output>> answers;
  const auto gather = [&](Result<Output> made) { answers.push_back(std::move(made)); };

  ask_for_whole({1}, [&](Result<Output> made) {
    for (std::size_t i = 0; i < UploadAssembler::kWaitingMax; ++i) ask_for_whole({1}, gather);
    EXPECT_TRUE(answers.empty()) << "their turn comes later";
    ask_for_whole({1}, gather);
    ASSERT_EQ(answers.size(), 1U);
    EXPECT_EQ(answers.front().error().code, ErrorCode::rate_limited);
    answers.clear();
    gather(std::move(made));
  });

  EXPECT_EQ(answers.size(), UploadAssembler::kWaitingMax + 1);
  for (const auto& each : answers) {
    ASSERT_TRUE(each) << each.error().message;
    EXPECT_EQ(content(*each), "a");
  }
  EXPECT_TRUE(whole_of({1}));
}

TEST_F(UploadPartsTest, GoesOnWithWhoWaitsWhenAnAnswerThrows) {
  put_part(1, "a");
  bool answered = false;
  ask_for_whole({1}, [&](const Result<Output>&) {
    ask_for_whole({1}, [&](const Result<Output>& made) { answered = made.has_value(); });
    throw std::runtime_error("no memory");
  });
  EXPECT_TRUE(answered);
}

TEST_F(UploadPartsTest, NoPartCountsAsMissingWhileThereAreNoDescriptors) {
  put_part(1, "begin, ");
  put_part(2, "end");
  int refused = 0;
  for (std::size_t left = 0;; ++left, ++refused) {
    ASSERT_LT(left, 20U);
    const auto whole = [&] {
      const DescriptorsLeft few(left);
      return whole_of({1, 2});
    }();
    if (whole) {
      EXPECT_EQ(content(*whole), "begin, end");
      break;
    }
    EXPECT_EQ(whole.error().code, ErrorCode::unavailable) << left << ": " << whole.error().message;
    EXPECT_TRUE(has_part(1) && has_part(2)) << left;
  }
  EXPECT_GT(refused, 1);
}

class UploadSizesTest : public testing::Test {
 protected:
  UploadSizes::Growing begin(std::uint32_t part, const std::string& nonce = "a") {
    return sizes_.begin(nonce, part, now_);
  }
  void store(std::uint32_t part, std::uint64_t bytes, const std::string& nonce = "a") {
    auto growing = begin(part, nonce);
    ASSERT_TRUE(growing.grow(bytes));
    growing.keep();
  }
  std::uint64_t room(const std::string& nonce = "a") { return begin(100, nonce).room(); }

  UploadSizes sizes_{10, std::chrono::hours(1)};
  SteadyTime now_{};
};

TEST_F(UploadSizesTest, LeaveNoMoreRoomThanTwoWholesMayHave) {
  EXPECT_EQ(room(), 10U);
  store(1, 10);
  store(2, 6);
  EXPECT_EQ(room(), 4U);
  EXPECT_EQ(room("b"), 10U);

  EXPECT_FALSE(begin(3).grow(5));
  EXPECT_FALSE(begin(2).grow(5)) << "one that comes again grows beside the one that is there";
  store(2, 4);
  EXPECT_EQ(room(), 4U) << "and replaces it";
}

TEST_F(UploadSizesTest, CountWhatGrowsUntilItEnds) {
  auto kept = begin(1);
  EXPECT_TRUE(kept.grow(8));
  {
    auto broken_off = begin(1);
    EXPECT_TRUE(broken_off.grow(4));
    EXPECT_TRUE(broken_off.grow(4));
    EXPECT_EQ(room(), 4U);
    auto third = begin(2);
    EXPECT_TRUE(third.grow(3));
    EXPECT_FALSE(third.grow(2));
    EXPECT_EQ(room(), 1U) << "a refusal takes no room";
  }
  EXPECT_EQ(room(), 10U);
  kept.keep();
  EXPECT_EQ(begin(1).room(), 10U);
  store(2, 10);
  EXPECT_EQ(room(), 2U);
}

TEST_F(UploadSizesTest, AllowNoFileThatIsLargerThanAWhole) {
  auto growing = begin(1);
  EXPECT_TRUE(growing.grow(10));
  EXPECT_FALSE(growing.grow(1));
}

TEST_F(UploadSizesTest, CountTheLargerOfTwoPartsThatComeAtOnce) {
  auto large = begin(1);
  auto small = begin(1);
  EXPECT_TRUE(large.grow(9));
  EXPECT_TRUE(small.grow(1));
  large.keep();
  small.keep();
  store(2, 8);
  EXPECT_EQ(room(), 3U);
}

TEST_F(UploadSizesTest, ForgetThePartsThatAreRemovedAndNoOthers) {
  for (const std::uint32_t part : {1U, 2U}) store(part, 10);
  const std::array<std::uint32_t, 2> removed{2, 7};

  sizes_.forget("a", removed);

  EXPECT_EQ(room(), 10U);
  store(3, 10);
  EXPECT_EQ(room(), 0U) << "the first one is still there";
}

TEST_F(UploadSizesTest, ForgetUploadsWhoseTimeIsOver) {
  for (const std::uint32_t part : {1U, 2U}) store(part, 10);
  now_ += std::chrono::minutes(59);
  for (const std::uint32_t part : {1U, 2U}) store(part, 10, "b");
  EXPECT_EQ(room(), 0U);

  now_ += std::chrono::minutes(2);

  EXPECT_EQ(room(), 10U);
  EXPECT_EQ(room("b"), 0U);
}

}  // namespace
}  // namespace quern::api
