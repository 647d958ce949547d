#include "base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace quern {
namespace {

std::string encode(char32_t c) {
  std::string out;
  const auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0U | (c >> 6U));
    put(0x80U | (c & 0x3FU));
  } else if (c < 0x10000) {
    put(0xE0U | (c >> 12U));
    put(0x80U | ((c >> 6U) & 0x3FU));
    put(0x80U | (c & 0x3FU));
  } else {
    put(0xF0U | (c >> 18U));
    put(0x80U | ((c >> 12U) & 0x3FU));
    put(0x80U | ((c >> 6U) & 0x3FU));
    put(0x80U | (c & 0x3FU));
  }
  return out;
}

TEST(Utf8, DecodesEveryCharacterAndRefusesEverySurrogate) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    const std::string text = encode(c);
    const DecodedUtf8 decoded = decode_utf8(text);

    const bool surrogate = c >= 0xD800 && c <= 0xDFFF;
    ASSERT_EQ(decoded.valid, !surrogate) << static_cast<unsigned>(c);
    if (surrogate) continue;
    ASSERT_EQ(decoded.code_point, c);
    ASSERT_EQ(decoded.bytes, text.size());
  }
}

TEST(Utf8, RefusesWhatIsBeyondUnicodeOverlongOrCutOff) {
  for (const std::string text : {"\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xC0\x80", "\xC1\xBF",
                                 "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF", "\x80", "\xFF", "\xC3",
                                 "\xE2\x82", "\xF0\x9F\x98", "\xC3(", "\xE2(\xAC"}) {
    EXPECT_FALSE(decode_utf8(text).valid) << ::testing::PrintToString(text);
  }
}

TEST(Utf8, SkipsOnlyTheBytesThatCouldHaveBegunACharacter) {
  EXPECT_EQ(decode_utf8("\xE2\x82z").bytes, 2U);
  EXPECT_EQ(decode_utf8("\xED\xA0\x80").bytes, 1U);
  EXPECT_EQ(decode_utf8("\xF0\x9F\x98\xC3").bytes, 3U);
}

TEST(Utf8, FindsTheFirstInvalidByte) {
  EXPECT_EQ(find_invalid_utf8(""), std::string_view::npos);
  EXPECT_EQ(find_invalid_utf8("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"), std::string_view::npos);
  EXPECT_EQ(find_invalid_utf8("a\xC3\xA9\xFFz"), 3U);
}

TEST(Utf8, CountsCharactersNotBytes) {
  EXPECT_EQ(count_utf8(""), 0U);
  EXPECT_EQ(count_utf8("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"), 4U);
  std::string text;
  for (std::size_t count = 0; count < 300; ++count) {
    ASSERT_EQ(count_utf8(text), count);
    text += encode(count % 3 == 0 ? U'a' : 0x80U << (count % 13));
  }
}

TEST(CutUtf8, LeavesNoPartOfACharacter) {
  EXPECT_EQ(cut_utf8("a\u20ACb", 9), "a\u20ACb");
  EXPECT_EQ(cut_utf8("a\u20ACb", 4), "a\u20AC");
  for (const std::size_t bytes : {1U, 2U, 3U}) EXPECT_EQ(cut_utf8("a\u20ACb", bytes), "a");
  EXPECT_EQ(cut_utf8("\U0001F600", 3), "");
  EXPECT_EQ(cut_utf8("abc", 0), "");
  EXPECT_EQ(cut_utf8(std::string(9, '\x80'), 8).size(), 5U) << "bytes that are no text";
}

}  // namespace
}  // namespace quern
