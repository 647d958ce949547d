#include "base/json.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

namespace quern {
namespace {

using ::testing::HasSubstr;

std::string fault_of(std::string_view text) {
  auto parsed = parse_json(text);
  if (parsed) return "accepted: " + to_json(*parsed);
  EXPECT_EQ(parsed.error().code, ErrorCode::invalid_argument);
  return parsed.error().message;
}

std::string as_json_string(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST(Json, ReadsEveryKindOfValue) {
  for (const std::string_view text :
       {"null", "true", "-7", "18446744073709551615", "1.5E-3", R"("\u00e9\ud83d\ude00")", "[]",
        "[1,[2,{}]]", R"({"a":{"b":[null]}})"}) {
    EXPECT_TRUE(parse_json(text).has_value()) << text;
  }
  EXPECT_EQ(parse_json(" \t\r\n{\"a\" : 1} \n").value(), (json::value{{"a", 1}}));
  EXPECT_EQ(parse_json(R"("\u00e9\ud83d\ude00")").value(), "\xC3\xA9\xF0\x9F\x98\x80");
}

TEST(Json, KeepsWholeNumbersOf64Bits) {
  EXPECT_EQ(parse_json("9223372036854775807").value().as_int64(), INT64_MAX);
  EXPECT_EQ(parse_json("-9223372036854775808").value().as_int64(), INT64_MIN);
  EXPECT_EQ(parse_json("18446744073709551615").value().as_uint64(), UINT64_MAX);
}

TEST(Json, RefusesWhatIsNotJson) {
  for (const std::string_view text : {"",         " ",         "nul",       "NaN",
                                      "Infinity", "-Infinity", "[1,]",      "{\"a\":1,}",
                                      "{a:1}",    "{'a':1}",   "// c\n1",   "/* c */ 1",
                                      "01",       "+1",        ".5",        "1.",
                                      "1e",       "-",         "0x10",      "\"",
                                      "\"\n\"",   "\"\t\"",    "\"\\x41\"", "[",
                                      "{",        "[1 2]",     "{\"a\" 1}", "\xEF\xBB\xBF{}"}) {
    EXPECT_FALSE(parse_json(text).has_value()) << text;
  }
  EXPECT_FALSE(parse_json(std::string_view("\"\0\"", 3)).has_value());
  EXPECT_FALSE(parse_json(std::string_view("1\0", 2)).has_value());
}

TEST(Json, SaysWhatIsWrongAndWhere) {
  EXPECT_EQ(fault_of("{} x"), "unexpected text after the value at byte 3");
  EXPECT_EQ(fault_of("[1, 2"), "the text ends too early at byte 5");
  EXPECT_EQ(fault_of("[1,,2]"), "a syntax error at byte 3");
  EXPECT_EQ(fault_of(R"({"a":tru})"), "a syntax error at byte 5");
}

TEST(Json, RefusesLoneSurrogates) {
  for (const std::string_view text :
       {R"("\ud800")", R"("\udc00")", R"("\ud800x")", R"("\ud800\u0041")", R"("\ud800\ud800")",
        R"({"\udfff":1})", R"("\ud83d)"}) {
    EXPECT_FALSE(parse_json(text).has_value()) << text;
  }
}

TEST(Json, RefusesInvalidUtf8AndSaysWhere) {
  EXPECT_EQ(fault_of("[\"a\xFF\"]"), "invalid UTF-8 at byte 3");
  EXPECT_EQ(fault_of("\"\xC0\x80\""), "invalid UTF-8 at byte 1");      // overlong
  EXPECT_EQ(fault_of("\"\xED\xA0\x80\""), "invalid UTF-8 at byte 1");  // a surrogate
  EXPECT_EQ(fault_of("\"\xF4\x90\x80\x80\""), "invalid UTF-8 at byte 1");
  EXPECT_EQ(fault_of("{\"\xE2\x82\":1}"), "invalid UTF-8 at byte 2");
}

TEST(Json, RefusesNumbersThatNoDoubleCanHold) {
  EXPECT_THAT(fault_of("1e400"), HasSubstr("out of range"));
  EXPECT_THAT(fault_of(R"({"a":[-1e99999999999]})"), HasSubstr("out of range"));
  EXPECT_THAT(fault_of(std::string(400, '9')), HasSubstr("out of range"));
  EXPECT_TRUE(parse_json("1e-400").has_value());
  EXPECT_TRUE(parse_json("1.7976931348623157e308").has_value());
}

TEST(Json, ReadsDoublesToTheLastBit) {
  EXPECT_EQ(parse_json("0.30000000000000004").value().as_double(), 0.1 + 0.2);
  EXPECT_EQ(parse_json("1.7976931348623157e308").value().as_double(),
            std::numeric_limits<double>::max());
  EXPECT_EQ(parse_json("5e-324").value().as_double(), std::numeric_limits<double>::denorm_min());
  EXPECT_EQ(parse_json("-0.0").value().as_double(), 0.0);
  std::mt19937_64 random(1);
  for (int i = 0; i < 20'000; ++i) {
    const auto value = std::bit_cast<double>(random());
    if (!std::isfinite(value)) continue;
    ASSERT_EQ(parse_json(fmt::format("{}", value)).value().to_number<double>(), value);
    ASSERT_EQ(parse_json(to_json(json::value(value))).value().as_double(), value);
  }
}

TEST(Json, LimitsNestingWithoutCrashing) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };

  EXPECT_TRUE(parse_json(nested(kJsonDepthMax)).has_value());
  EXPECT_THAT(fault_of(nested(kJsonDepthMax + 1)), HasSubstr("too deeply nested"));
  EXPECT_THAT(fault_of(nested(200'000)), HasSubstr("too deeply nested"));
  EXPECT_THAT(fault_of(std::string(200'000, '[')), HasSubstr("too deeply nested"));
  std::string objects;
  for (int i = 0; i < 200'000; ++i) objects += R"({"a":)";
  EXPECT_THAT(fault_of(objects), HasSubstr("too deeply nested"));
  EXPECT_FALSE(parse_json("[[]]", 1).has_value());
  EXPECT_TRUE(parse_json("[[]]", 2).has_value());
}

TEST(Json, TakesTheLastOfMembersWithOneName) {
  EXPECT_EQ(parse_json(R"({"a":1,"b":2,"a":3})").value().at("a"), 3);
}

std::string object_of(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names)
    text += fmt::format("{}\"{}\":0", text.empty() ? '{' : ',', name);
  return text + '}';
}

// 2^13 names that stay in one bucket of as many if they are hashed as Boost.JSON 1.81 does it, in a table whose address
// ends with the byte `low`: in each of 13 places either of two blocks that lead to the same state.
std::vector<std::string> names_of_one_bucket(std::uint64_t low) {
  constexpr std::uint64_t kMask = (1U << 13U) - 1;
  std::uint64_t state = 0xcbf29ce484222325U + low;
  std::vector<std::string> names{""};
  while (names.size() <= kMask) {
    std::unordered_map<std::uint64_t, std::string> blocks;  // by the state after them
    for (int i = 0;; ++i) {
      const std::string block = fmt::format("{:03}", i);
      std::uint64_t after = state;
      for (const char c : block)
        after = ((static_cast<std::uint64_t>(c) ^ after) * 0x100000001B3U) & kMask;
      const auto [same, is_new] = blocks.emplace(after, block);
      if (is_new) continue;
      std::vector<std::string> longer;
      for (const std::string& name : names)
        longer.insert(longer.end(), {name + same->second, name + block});
      names = std::move(longer);
      state = after;
      break;
    }
  }
  return names;
}

double seconds_to_parse(const std::string& text) {
  std::array<double, 3> seconds{};
  for (double& one : seconds) {
    timespec start{};
    timespec end{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    const bool is_read = parse_json(text).has_value();
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    EXPECT_TRUE(is_read);
    one = static_cast<double>(end.tv_sec - start.tv_sec) +
          1e-9 * static_cast<double>(end.tv_nsec - start.tv_nsec);
  }
  std::ranges::sort(seconds);
  return seconds[1];
}

TEST(Json, ReadsNamesChosenToCollideAsFastAsOthers) {
  std::vector<std::string> names;
  for (int i = 0; i < 1 << 13; ++i) names.push_back(fmt::format("{:039}", i));
  const std::string ordinary = object_of(names);
  for (std::uint64_t low = 0; low < 256; low += 16) {
    const std::string chosen = object_of(names_of_one_bucket(low));
    ASSERT_EQ(chosen.size(), ordinary.size());
    const double ratio = seconds_to_parse(chosen) / seconds_to_parse(ordinary);
    EXPECT_LT(ratio, 20) << "in a table whose address ends with " << low;
  }
}

TEST(Json, FindsEachOfHundredsOfMembersAndKeepsTheirOrder) {
  for (const int count : {18, 19, 500}) {
    std::vector<std::string> names;
    for (int i = 0; i < count; ++i)
      names.push_back(fmt::format("{}/{}", std::string(static_cast<std::size_t>(i % 20), 'n'), i));
    json::value value = parse_json(object_of(names)).value();
    json::object& object = value.get_object();
    object["one more"] = 0;  // in a larger table
    names.emplace_back("one more");
    std::vector<std::string> kept;
    for (auto& [name, member] : object) {
      kept.emplace_back(name);
      member = kept.size();
    }

    EXPECT_EQ(kept, names);
    for (std::size_t i = 0; i < names.size(); ++i) EXPECT_EQ(object.at(names[i]), i + 1);
    EXPECT_FALSE(object.contains("no such name"));
    EXPECT_EQ(value.at_pointer("/nnnnn~15"), 6);  // hashed while the escape is read
  }
}

TEST(Json, ReadsValuesLargerThanItsScratchMemory) {
  const std::string text = "[\"" + std::string(1'000'000, 'x') + "\"]";
  EXPECT_EQ(to_json(parse_json(text).value()), text);
}

TEST(Json, QuotesStringsSoThatTheyReadBackTheSame) {
  for (const std::string& text :
       {std::string(), std::string("plain"), std::string("\"\\/\b\f\n\r\t"),
        std::string("\0\x01\x1F\x7F", 4), std::string("\xC3\xA9\xF0\x9F\x98\x80"),
        std::string("\xC2\x85\xE2\x80\xA8\xE2\x80\xAE\xE2\x81\xA6")}) {
    EXPECT_EQ(parse_json(as_json_string(text)).value(), json::value(text));
  }
}

TEST(Json, EscapesWhatATerminalMayActUpon) {
  EXPECT_EQ(as_json_string("a\x1B[2J\x7F"), R"("a\u001b[2J\u007f")");
  EXPECT_EQ(as_json_string("\xC2\x9B\xE2\x80\xA8\xE2\x80\xAE"), R"("\u009b\u2028\u202e")");
}

TEST(Json, EscapesAtTheStartAtTheEndAndInARow) {
  EXPECT_EQ(as_json_string(""), R"("")");
  EXPECT_EQ(as_json_string("\""), R"("\"")");
  EXPECT_EQ(as_json_string("\n\nab\\\"cd\t"), R"("\n\nab\\\"cd\t")");
  EXPECT_EQ(as_json_string("\x7F\x1F \xC2\xA0~"), "\"\\u007f\\u001f \xC2\xA0~\"");
}

TEST(Json, KeepsWhatNeedsNoEscapeWhereverItStands) {
  const std::string kept = "z\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80";  // of one to four bytes
  for (std::size_t before = 0; before < 40; ++before) {
    const std::string plain(before, 'a');
    EXPECT_EQ(as_json_string(plain + kept), '"' + plain + kept + '"');
    EXPECT_EQ(as_json_string(plain + kept + '"' + kept + plain),
              '"' + plain + kept + "\\\"" + kept + plain + '"');
    EXPECT_EQ(as_json_string(plain + "\xFF" + kept), '"' + plain + "\xEF\xBF\xBD" + kept + '"');
  }
}

TEST(Json, ReplacesInvalidUtf8InStrings) {
  EXPECT_EQ(as_json_string("a\xFFz"), "\"a\xEF\xBF\xBDz\"");
  EXPECT_EQ(as_json_string("a\xC3"), "\"a\xEF\xBF\xBD\"");
  EXPECT_EQ(as_json_string("\xE2\x82\""), "\"\xEF\xBF\xBD\\\"\"");  // the quote is not swallowed
  EXPECT_EQ(as_json_string("\xED\xA0\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

TEST(Json, WritesNumbersAsPeopleDoAndOfTheKindTheyWere) {
  const std::string_view text =
      R"([0,-1,9223372036854775807,-9223372036854775808,18446744073709551615,7.5,1.0,-0.0,0.0001,)"
      R"(100000.0,123456789012345.6,1e+30,1.5e-07,0.1,5e-324,1.7976931348623157e+308])";
  EXPECT_EQ(to_json(*parse_json(text)), text);
  EXPECT_EQ(to_json(*parse_json("[1.50,1E2,12E-1,18446744073709551616]")),
            "[1.5,100.0,1.2,1.8446744073709552e+19]");
}

TEST(Json, WritesEveryKindOfValueWithoutSpaces) {
  const std::string_view text =
      R"({"a":[],"b":{},"c":[[1],{"d":null}],"quo\"te":true,"":false,"é":"\u0000\n"})";
  EXPECT_EQ(to_json(*parse_json(text)), text);
  EXPECT_EQ(to_json(parse_json(text)->get_object()), text);
}

TEST(Json, WritesWhatIsNoNumberAsNull) {
  EXPECT_EQ(to_json(json::value(std::numeric_limits<double>::infinity())), "null");
  EXPECT_EQ(to_json(json::value(std::numeric_limits<double>::quiet_NaN())), "null");
}

}  // namespace
}  // namespace quern
