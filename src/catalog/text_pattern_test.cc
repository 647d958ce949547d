#include "catalog/text_pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace quern {
namespace {

bool matches(std::string_view pattern, std::string_view text) {
  std::uint64_t tries = 1'000'000'000;
  return TextPattern::compile(pattern).value().matches(text, tries).value();
}

TEST(TextPattern, IsSearchedForAnywhereUnlessAnchored) {
  EXPECT_TRUE(matches("b+", "abbc"));
  EXPECT_TRUE(matches("", ""));
  EXPECT_TRUE(matches("a|b", "xb"));
  EXPECT_TRUE(matches("c", "\nab\nc"));
  EXPECT_FALSE(matches("^b", "ab"));
  EXPECT_FALSE(matches("b$", "bc"));
  EXPECT_FALSE(matches("^a$", "a\n"));
  EXPECT_FALSE(matches("^b$", "a\nb\nc"));
  EXPECT_FALSE(matches("^a|b$", "xax"));
}

TEST(TextPattern, CountsCharactersNotBytes) {
  EXPECT_TRUE(matches("^.{2}$", "\xC3\xA9\xF0\x9F\x98\x80"));
  EXPECT_TRUE(matches("^[\xC3\xA4-\xC3\xBC]+$", "\xC3\xA9"));  // ä-ü holds é
  EXPECT_TRUE(matches("^\\u00e9$", "\xC3\xA9"));
  EXPECT_TRUE(matches("^\xF0\x9F\x98\x80*$", "\xF0\x9F\x98\x80\xF0\x9F\x98\x80"));
}

TEST(TextPattern, TakesTheZeroCharacterForAnyOther) {
  EXPECT_TRUE(matches("^a.b$", std::string_view("a\0b", 3)));
}

TEST(TextPattern, KnowsTheBlanksOfUnicode) {
  for (const std::string_view blank :
       {" ", "\t", "\v", "\n", "\u00A0", "\u2003", "\u2028", "\u202F", "\u3000", "\uFEFF"}) {
    EXPECT_TRUE(matches("^\\s$", blank)) << blank;
    EXPECT_TRUE(matches("^[a\\s]$", blank)) << blank;
    EXPECT_FALSE(matches("^\\S$", blank)) << blank;
  }
  for (const std::string_view other : {"a", "_", "\u200B", "\u00E9"}) {
    EXPECT_FALSE(matches("\\s", other)) << other;
    EXPECT_TRUE(matches("^\\S$", other)) << other;
  }
}

TEST(TextPattern, IsRefusedWhenItCannotBeUnderstood) {
  for (const std::string_view pattern :
       {"(", "a)(b", "[b-a]", "*", "a{2,1}", "(a)\\1", "\\p{L}", "(?<n>a)", "(?<=a)b", "\\cA",
        "[\\cA]", "(a{1,1000}){1,1000}"}) {
    const auto compiled = TextPattern::compile(pattern);
    ASSERT_FALSE(compiled.has_value()) << pattern;
    EXPECT_EQ(compiled.error().code, ErrorCode::invalid_argument);
  }
  EXPECT_FALSE(TextPattern::compile(std::string(1'001, 'a')).has_value());
}

TEST(TextPattern, NeverBlowsUp) {
  // Each takes a backtracking matcher time exponential in the length of the text, or its whole
  // stack.
  const std::string many(kPatternTextMax, 'a');
  EXPECT_FALSE(matches("^(a+)+$", many.substr(1) + "!"));
  EXPECT_FALSE(matches("^(a|a)*b$", many));
  EXPECT_FALSE(matches("a*a*a*a*b", many));
  EXPECT_TRUE(matches("^(.|\\n)*$", many));
}

TEST(TextPattern, StaysOnTheStackWithAsManyStatesAsThereMayBe) {
  EXPECT_TRUE(matches("^(a?){1600}$", "aaa"));
  EXPECT_TRUE(matches("^((((a?){10})?){10}){10}$", "aaa"));
  EXPECT_TRUE(matches("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
                      "123e4567-e89b-12d3-a456-426614174000"));
}

TEST(TextPattern, IsRefusedWhenItsRepetitionsAreLargeWrittenOut) {
  for (const std::string_view pattern :
       {"a{5001}", "(a?){4000}", "(((a{20}){20}){20}){20}", "a{0,99999999999999999999}",
        "a{7777777777777777777", "((a{100}b){100})"}) {
    const auto compiled = TextPattern::compile(pattern);
    ASSERT_FALSE(compiled.has_value()) << pattern;
    EXPECT_THAT(compiled.error().message, ::testing::HasSubstr("written out")) << pattern;
  }
  EXPECT_EQ(TextPattern::compile("(a)\\99999999999999999999").error().message,
            "back-references are not understood");
  EXPECT_TRUE(TextPattern::compile("[{]9999999999999").has_value());
}

TEST(TextPattern, IsTriedOnNoTextBeyondItsLimit) {
  const TextPattern pattern = TextPattern::compile("a").value();
  std::uint64_t tries = 1'000'000;
  EXPECT_EQ(pattern.matches(std::string(kPatternTextMax, 'a'), tries), true);
  EXPECT_EQ(pattern.matches(std::string(kPatternTextMax + 1, 'a'), tries), std::nullopt);
}

TEST(TextPattern, EndsWhenItsTriesAreUsedUp) {
  const TextPattern pattern = TextPattern::compile("[a-z]{1,1000}[0-9]").value();
  const std::string text(1'000, 'a');
  std::uint64_t tries = 100'000;

  EXPECT_EQ(pattern.matches(text, tries), std::nullopt);
  EXPECT_EQ(tries, 0U);

  tries = 10'000'000;
  EXPECT_EQ(pattern.matches(text, tries), false);
  EXPECT_LT(tries, 10'000'000U - 100'000U);
}

}  // namespace
}  // namespace quern
