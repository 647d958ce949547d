#include "runner/runner_lines.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace quern {
namespace {

using Lines = std::vector<std::pair<std::string, bool>>;

Lines split(LineSplitter& splitter, std::vector<std::string> chunks) {
  Lines lines;
  const auto each = [&](std::string_view line, bool cut) { lines.emplace_back(line, cut); };
  for (const std::string& chunk : chunks) splitter.feed(chunk, each);
  splitter.finish(each);
  return lines;
}

TEST(LineSplitter, JoinsALineThatComesInPieces) {
  LineSplitter splitter(100);

  EXPECT_EQ(split(splitter, {"on", "e\ntw", "o\n", "\nlast"}),
            (Lines{{"one", false}, {"two", false}, {"", false}, {"last", false}}));
}

TEST(LineSplitter, KeepsAnEmptyLineWhoseNewlineComesLater) {
  LineSplitter splitter(100);

  EXPECT_EQ(split(splitter, {"a\n", "\n"}), (Lines{{"a", false}, {"", false}}));
}

TEST(LineSplitter, CutsALongTextLineAndGoesOnWithTheNext) {
  LineSplitter splitter(4);

  EXPECT_EQ(split(splitter, {"abcdefgh\nij\nklm", "nopq\nr"}),
            (Lines{{"abcd", true}, {"ij", false}, {"klmn", true}, {"r", false}}));
}

TEST(LineSplitter, KeepsALongMessageWhole) {
  LineSplitter splitter(4);

  EXPECT_EQ(split(splitter, {"{\"log\":", "\"x\"}\n"}), (Lines{{R"({"log":"x"})", false}}));
}

TEST(LineSplitter, KeepsALongMessageWholeBehindBlanks) {
  LineSplitter splitter(4);
  const Lines whole{{" \t{\"log\":\"x\"}", false}};

  EXPECT_EQ(split(splitter, {" \t{\"log\":\"x\"}\n"}), whole);
  EXPECT_EQ(split(splitter, {" ", "\t", "{\"log\":", "\"x\"}\n"}), whole);
}

TEST(LineSplitter, CutsALongTextLineBehindBlanks) {
  LineSplitter splitter(4);

  EXPECT_EQ(split(splitter, {" ", "abcd{\n", "     \n", "   ", "  \n"}),
            (Lines{{" abc", true}, {"    ", true}, {"    ", true}}));
}

TEST(LineSplitter, CutsAMessageThatHasNoEnd) {
  LineSplitter splitter(4);
  const std::string endless = "{" + std::string(kRunnerMessageBytesMax, 'x');

  const Lines lines = split(splitter, {endless, endless, "\nnext\n"});

  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0].first.size(), kRunnerMessageBytesMax);
  EXPECT_TRUE(lines[0].second);
  EXPECT_EQ(lines[1].first, "next");
}

TEST(RunnerLine, ClampsProgress) {
  EXPECT_EQ(decode_runner_line(R"({"progress":0.4})")->progress, 0.4);
  EXPECT_EQ(decode_runner_line(R"({"progress":7})")->progress, 1.0);
  EXPECT_EQ(decode_runner_line(R"({"progress":-1})")->progress, 0.0);
}

TEST(RunnerLine, ReadsALogWithItsLevel) {
  const auto plain = decode_runner_line(R"({"log":"hi"})");
  const auto warning = decode_runner_line(R"({"log":"hot","level":"WARN"})");
  const auto odd = decode_runner_line(R"({"log":"odd","level":"LOUD"})");

  EXPECT_EQ(plain->log->message, "hi");
  EXPECT_EQ(plain->log->severity, LogSeverity::info);
  EXPECT_EQ(warning->log->severity, LogSeverity::warn);
  EXPECT_EQ(odd->log->severity, LogSeverity::info);
}

TEST(RunnerLine, ReadsOutputsByPathAndByText) {
  const auto image =
      decode_runner_line(R"({"output":{"type":"image","path":"a.png","metadata":{"seed":7}}})");
  const auto text = decode_runner_line(R"({"output":{"type":"text","text":""}})");

  ASSERT_TRUE(image->output->has_value());
  EXPECT_EQ(image->output->value().type, OutputType::image);
  EXPECT_EQ(image->output->value().path, "a.png");
  EXPECT_EQ(image->output->value().metadata_json, R"({"seed":7})");
  ASSERT_TRUE(text->output->has_value());
  EXPECT_EQ(text->output->value().text, "");
}

TEST(RunnerLine, SaysWhatIsWrongWithAnOutput) {
  const auto fault = [](const char* line) {
    const auto message = decode_runner_line(line);
    return message && message->output && !message->output->has_value()
               ? message->output->error().message
               : "no fault";
  };

  EXPECT_EQ(fault(R"({"output":"a.png"})"), "is not an object");
  EXPECT_EQ(fault(R"({"output":{"type":"painting","path":"a"}})"),
            "has no type out of image, video, audio, model3d, text and file");
  EXPECT_EQ(fault(R"({"output":{"type":"image"}})"), "has no path");
  EXPECT_EQ(fault(R"({"output":{"type":"image","path":""}})"), "has an empty path");
  EXPECT_EQ(fault(R"({"output":{"type":"image","path":"a.png\u0000b"}})"), "has a path with a NUL");
  EXPECT_EQ(fault(R"({"output":{"type":"image","text":"x"}})"),
            "has a text, but is not of type text");
  EXPECT_EQ(fault(R"({"output":{"type":"text","text":"x","path":"y"}})"),
            "needs either a text or a path");
  const std::string huge =
      R"({"output":{"type":"text","text":")" + std::string(kOutputTextBytesMax + 1, 'x') + R"("}})";
  EXPECT_EQ(fault(huge.c_str()), "has a text of more than 1 MiB");
}

TEST(RunnerLine, ReadsErrorsAndTakesUnknownTypesForFailures) {
  const auto invalid = decode_runner_line(R"({"error":"no face","error_type":"REQUEST_INVALID"})");
  const auto unknown = decode_runner_line(R"({"error":"?","error_type":"MELTDOWN"})");
  const auto canceled = decode_runner_line(R"({"error":"?","error_type":"CANCELED"})");
  const auto again = decode_runner_line(R"({"error":"busy","retryable":true})");

  EXPECT_EQ(invalid->error->type, ErrorType::request_invalid);
  EXPECT_EQ(invalid->error->text, "no face");
  EXPECT_FALSE(invalid->error->retryable);
  EXPECT_EQ(unknown->error->type, ErrorType::inference_failure);
  EXPECT_EQ(canceled->error->type, ErrorType::inference_failure);
  EXPECT_TRUE(again->error->retryable);
}

TEST(RunnerLine, TakesAnErrorOfAnyShapeForAFailure) {
  const auto object = decode_runner_line(
      R"({"error":{"message":"CUDA out of memory","code":5},"error_type":"INTERNAL_SERVER_ERROR","retryable":true})");
  const std::string huge(kErrorTextBytesMax + 1, 'x');
  const auto cut = decode_runner_line(R"({"error":{"message":")" + huge + R"("}})");

  ASSERT_TRUE(object && object->error);
  EXPECT_EQ(object->error->text, "CUDA out of memory");
  EXPECT_EQ(object->error->type, ErrorType::internal_server_error);
  EXPECT_TRUE(object->error->retryable);
  EXPECT_EQ(cut->error->text.size(), kErrorTextBytesMax);
  for (const char* error :
       {R"(null,"error_type":"INFERENCE_FAILURE")", "5", "false", "[]", "{}", R"({"message":7})"}) {
    const auto message = decode_runner_line(R"({"progress":1,"error":)" + std::string(error) + "}");
    ASSERT_TRUE(message && message->error) << error;
    EXPECT_EQ(message->error->text, "") << error;
    EXPECT_EQ(message->error->type, ErrorType::inference_failure) << error;
    EXPECT_EQ(message->progress, 1.0);
  }
}

TEST(RunnerLine, TakesAnErrorOfNullForNone) {
  const auto message = decode_runner_line(R"({"progress":1,"error":null,"error_type":null})");

  ASSERT_TRUE(message);
  EXPECT_FALSE(message->error);
  EXPECT_EQ(message->progress, 1.0);
}

TEST(RunnerLine, TakesAnOutputOfNullForNone) {
  const auto message = decode_runner_line(R"({"progress":0.5,"output":null})");

  ASSERT_TRUE(message);
  EXPECT_FALSE(message->output);
  EXPECT_FALSE(decode_runner_line(R"({"output":null})"));
}

TEST(RunnerLine, HearsAnErrorInALineThatIsNoJson) {
  const std::string deep = std::string(64, '[') + std::string(64, ']');
  for (const std::string& line :
       {std::string(R"({"error":"boom","score":NaN})"),
        std::string(R"({"score":Infinity,"error":{}})"), std::string("{\"error\":\"caf\xe9\"}"),
        R"({"error":"boom","d":)" + deep + "}",
        std::string(R"({ "a\"":{"output":1}, "error" : 'boom'})"), std::string(R"({"error":"bo)"),
        std::string(R"({"error":null,"error_type":"INFERENCE_FAILURE","score":NaN})")}) {
    const auto message = decode_runner_line(line);
    ASSERT_TRUE(message && message->error) << line;
    EXPECT_EQ(message->error->type, ErrorType::inference_failure) << line;
    EXPECT_FALSE(message->error->retryable) << line;
    EXPECT_FALSE(message->output) << line;
    EXPECT_TRUE(message->fault.starts_with("is no JSON: ")) << message->fault;
  }
}

TEST(RunnerLine, SaysWhyAnOutputIsNone) {
  const auto message =
      decode_runner_line(R"({"output":{"type":"text","text":"x","metadata":{"score":NaN}}})");

  ASSERT_TRUE(message && message->output);
  EXPECT_FALSE(message->error);
  EXPECT_EQ(message->fault, "is no JSON: a syntax error at byte 56");
  EXPECT_EQ(message->output->error().message, message->fault);
}

TEST(RunnerLine, SaysWhyAMessageIsNone) {
  for (const char* line : {R"({"progress":NaN})", "{\"log\":\"\xff\"}", R"({"log":"\ud800"})",
                           R"({"metadata":{"seed":7})", R"({"error":null,"progress":NaN})",
                           R"({"output":null,"progress":NaN})"}) {
    const auto message = decode_runner_line(line);
    ASSERT_TRUE(message) << line;
    EXPECT_FALSE(message->fault.empty()) << line;
    EXPECT_FALSE(message->error || message->output || message->progress || message->log ||
                 message->metadata)
        << line;
  }
}

TEST(RunnerLine, TakesWhatNamesNoMemberOfOursForALog) {
  for (const char* line :
       {R"({'output': 1, 'error': None})", R"({"loss":NaN})", R"({"a":{"error":1},"b":NaN})",
        R"({"a":["output"],"b":NaN})", R"({"a":"error","b":NaN})", R"({output})", R"({"error")",
        R"({"a}},"output":1)", R"({}"output":1)"}) {
    EXPECT_FALSE(decode_runner_line(line)) << line;
  }
}

TEST(RunnerLine, HearsWhatALineSaysThatWasCut) {
  const std::string reason = "is too long";
  const auto output = decode_broken_line(R"({"output":{"type":"text","text":"xxxx)", reason);

  ASSERT_TRUE(output && output->output);
  EXPECT_EQ(output->output->error().message, reason);
  EXPECT_TRUE(decode_broken_line(R"({"error":"xxxx)", reason)->error);
  EXPECT_FALSE(decode_broken_line("output error", reason));
}

TEST(RunnerLine, TakesEverythingElseForALog) {
  for (const char* line : {"", "  ", "hello", "{", "[1]", "{}", R"({"unknown":1})", R"("text")",
                           R"({"progress":"much"})", R"({"log":7})", R"({"metadata":[]})"}) {
    EXPECT_FALSE(decode_runner_line(line)) << line;
  }
}

TEST(RunnerLine, PassesOverMembersThatItDoesNotKnow) {
  const auto message = decode_runner_line(R"(  {"error":"x","hint":"y"})");

  ASSERT_TRUE(message);
  EXPECT_EQ(message->error->text, "x");
}

TEST(RunnerLine, SurvivesDeepNesting) {
  const std::string deep = R"({"metadata":)" + std::string(200'000, '[');

  const auto message = decode_runner_line(deep);

  ASSERT_TRUE(message);
  EXPECT_FALSE(message->metadata);
  EXPECT_TRUE(message->fault.starts_with("is no JSON: too deeply nested")) << message->fault;
}

TEST(LogText, IsCutBetweenCharacters) {
  EXPECT_EQ(log_text("plain\r", 100), "plain");
  EXPECT_EQ(log_text("a\xC3\xA4z", 2), "a");
  EXPECT_EQ(log_text("a\xC3\xA4z", 3), "a\xC3\xA4");
  EXPECT_EQ(log_text("\xF0\x9F\x98\x80", 3), "");
}

}  // namespace
}  // namespace quern
