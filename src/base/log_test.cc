#include "base/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <climits>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "testing/eventually.h"

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

TEST(Log, CutsWhatIsLongSoThatTheLineFitsAndSaysSo) {
  const std::string accents = "a" + std::string(30'000, '\xC3');  // none whole, each a U+FFFD
  std::string umlauts;
  for (int i = 0; i < 30'000; ++i) umlauts += "\xC3\xA4";
  for (const std::string& text : {std::string(60'000, 'x'), std::string(60'000, '\x01'),
                                  std::string(60'000, '"'), umlauts, "x" + umlauts, accents}) {
    const std::vector<LogField> fields{{"task", "mmsu_1"}, {"why", text}, {"again", text}};

    const std::string line = as_json(text, fields);
    const std::string people = format_log_text(text, fields);

    EXPECT_LT(line.size(), std::size_t{PIPE_BUF});
    EXPECT_LT(people.size(), std::size_t{PIPE_BUF});
    const auto parsed = parse_json(line);
    ASSERT_TRUE(parsed.has_value()) << line;
    EXPECT_EQ(parsed->at("task"), "mmsu_1");
    for (const char* name : {"msg", "why", "again"}) {
      const std::string_view cut = parsed->at(name).get_string();
      EXPECT_TRUE(cut.ends_with("… (" + std::to_string(text.size()) + " bytes)")) << cut;
      EXPECT_GT(cut.size(), 100U);
    }
    EXPECT_THAT(people, HasSubstr("… (" + std::to_string(text.size()) + " bytes)"));
    EXPECT_EQ(std::string(parsed->at("why").get_string()).find("\xEF\xBF\xBD") != std::string::npos,
              text == accents)
        << "no character is cut in two";
  }
}

TEST(Log, LeavesALineWholeThatJustFits) {
  const std::size_t frame = as_json("", {}).size();

  const std::string longest(std::size_t{PIPE_BUF} - 1 - frame, 'x');

  EXPECT_EQ(as_json(longest, {}).size(), std::size_t{PIPE_BUF} - 1);
  EXPECT_THAT(as_json(longest, {}), HasSubstr(longest));
  EXPECT_THAT(as_json(longest + "x", {}), HasSubstr(" bytes)"));
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

  /// At most `bytes`.
  void read(std::size_t bytes) const {
    std::string text(bytes, ' ');
    EXPECT_GT(::read(read_, text.data(), bytes), 0);
  }
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

TEST(Log, WaitsForNobodyInTheMiddleOfALongLine) {
  const StderrPipe pipe;
  init_logging(LogLevel::info);
  const std::string text(60'000, 'x');
  std::atomic<bool> is_over{false};

  const std::jthread writer([&] {
    for (int i = 0; i < 40; ++i) log_info("working", {{"text", text}});
    is_over = true;
  });
  EXPECT_TRUE(eventually([&] { return is_over.load(); }));

  const std::string before = pipe.read_all();
  EXPECT_TRUE(before.ends_with("}\n")) << "lines are whole";
  EXPECT_THAT(before, HasSubstr("… (60000 bytes)\"}\n"));
}

// The line that tells of the dropped ones takes the room that there is.
TEST(Log, WaitsForNobodyBehindTheLineThatTellsOfDroppedOnes) {
  const StderrPipe pipe;
  init_logging(LogLevel::info);
  const std::size_t frame = as_json("working", {{"text", ""}}).size();
  const std::string text(std::size_t{PIPE_BUF} - 1 - frame, 'x');
  std::atomic<bool> is_over{false};

  const std::jthread writer([&] {
    for (int i = 0; i < 40; ++i) log_info("working", {{"text", text}});
    pipe.read(PIPE_BUF);
    log_info("working", {{"text", text}});
    is_over = true;
  });
  EXPECT_TRUE(eventually([&] { return is_over.load(); }));

  EXPECT_THAT(pipe.read_all(), HasSubstr("log lines were dropped"));
  log_info("read again");
  EXPECT_THAT(pipe.read_all(), HasSubstr(R"("lines":"1"})"));
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
