#include "base/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"

namespace quern {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const WallTime kTime{std::chrono::microseconds{1'769'903'999'000'007}};

std::string as_json(std::string_view message, const std::vector<LogField>& fields) {
  return format_log_json(kTime, LogLevel::warn, message, fields);
}

TEST(Log, WritesTimeLevelMessageAndThenTheFieldsInOrder) {
  EXPECT_EQ(as_json("task failed", {{"task", "mmsu_1"}, {"attempt", "2"}}),
            R"({"time":"2026-01-31T23:59:59.000007Z","level":"warn","msg":"task failed",)"
            R"("task":"mmsu_1","attempt":"2"})");
}

TEST(Log, WritesForPeopleWithoutNeedlessQuotes) {
  const std::vector<LogField> fields{
      {"task", "mmsu_1"}, {"why", "no space left"}, {"empty", ""}, {"eq", "a=b"}};

  EXPECT_EQ(format_log_text("it's \"late\"", fields),
            R"(it's \"late\" task=mmsu_1 why="no space left" empty="" eq="a=b")");
}

TEST(Log, IsOneLineThatNobodyCanForge) {
  const std::string evil =
      "x\n{\"level\":\"error\"}\r\x1B[31m\xC2\x85\xE2\x80\xA8\xFF\",\"level\":\"debug";
  const std::vector<LogField> fields{{"a", evil}};

  const json::value line = parse_json(as_json(evil, fields)).value();
  const std::string text = format_log_text(evil, fields);

  EXPECT_EQ(line.as_object().size(), 4U);
  EXPECT_EQ(line.at("level"), "warn");
  EXPECT_TRUE(std::ranges::none_of(text, [](char c) { return c >= 0 && c < ' '; }));
  EXPECT_THAT(text, Not(HasSubstr("\xC2\x85")));
}

/// Standard error is a pipe while it lives.
class StderrPipe {
 public:
  StderrPipe() : before_(::dup(STDERR_FILENO)) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe(ends.data()), 0);
    read_ = ends[0];
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[1]);
    ::fcntl(read_, F_SETFL, O_NONBLOCK);
  }
  ~StderrPipe() {
    ::dup2(before_, STDERR_FILENO);
    ::close(before_);
    ::close(read_);
  }
  StderrPipe(const StderrPipe&) = delete;
  StderrPipe& operator=(const StderrPipe&) = delete;

  std::string read_all() const {
    std::string text;
    std::array<char, 65536> bytes{};
    for (ssize_t got = 0; (got = ::read(read_, bytes.data(), bytes.size())) > 0;)
      text.append(bytes.data(), static_cast<std::size_t>(got));
    return text;
  }

 private:
  int before_;
  int read_ = -1;
};

TEST(Log, DropsLinesThatNobodyReadsAndSaysHowMany) {
  const StderrPipe pipe;
  init_logging(LogLevel::info);

  for (int i = 0; i < 1'000; ++i) log_info("working", {{"text", std::string(300, 'x')}});
  const std::string before = pipe.read_all();
  log_info("read again");
  const std::string after = pipe.read_all();

  const auto told = static_cast<std::size_t>(std::ranges::count(before, '\n'));
  EXPECT_LT(told, 1'000U);
  EXPECT_TRUE(before.ends_with("}\n")) << "lines are whole";
  EXPECT_THAT(after, HasSubstr(R"("msg":"log lines were dropped: nobody read them","lines":")" +
                               std::to_string(1'000 - told) + "\"}\n"));
  EXPECT_THAT(after, HasSubstr("\"msg\":\"read again\"}\n"));
}

TEST(Log, WritesWholeJsonLinesFromManyThreads) {
  ::testing::internal::CaptureStderr();  // a file, so no terminal
  init_logging(LogLevel::info);
  log_debug("below the level");

  const auto work = [] {
    for (int i = 0; i < 200; ++i) log_info("working", {{"text", std::string(300, 'x')}});
  };
  {
    const std::jthread one(work);
    const std::jthread other(work);
  }

  const std::string all = ::testing::internal::GetCapturedStderr();
  std::size_t lines = 0;
  for (std::size_t begin = 0; begin < all.size(); ++lines) {
    const std::size_t end = all.find('\n', begin);
    ASSERT_NE(end, std::string::npos);
    const auto line = parse_json(all.substr(begin, end - begin));
    ASSERT_TRUE(line.has_value()) << all.substr(begin, end - begin);
    EXPECT_EQ(line->at("msg"), "working");
    begin = end + 1;
  }
  EXPECT_EQ(lines, 400U);
}

}  // namespace
}  // namespace quern
