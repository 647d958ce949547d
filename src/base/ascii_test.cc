#include "base/ascii.h"

#include <gtest/gtest.h>

#include <string>

namespace quern {
namespace {

TEST(Ascii, LowersTheLettersOfAsciiOnly) {
  for (int i = 0; i < 256; ++i) {
    const char c = static_cast<char>(i);
    const bool is_upper = i >= 'A' && i <= 'Z';
    EXPECT_EQ(to_lower(c), is_upper ? static_cast<char>(i + 32) : c) << i;
  }
}

TEST(Ascii, ComparesWithoutRegardToCase) {
  EXPECT_TRUE(equals_ignoring_case("", ""));
  EXPECT_TRUE(equals_ignoring_case("Content-TYPE", "cONTENT-type"));
  EXPECT_FALSE(equals_ignoring_case("host", "hos"));
  EXPECT_FALSE(equals_ignoring_case("host", "post"));
  EXPECT_FALSE(equals_ignoring_case("host", "hosu"));
}

TEST(Ascii, TakesOnlyLettersForTheSame) {
  EXPECT_FALSE(equals_ignoring_case("@[`{", "`{@["));
  EXPECT_FALSE(equals_ignoring_case("a-", "a\r"));
  EXPECT_FALSE(equals_ignoring_case("\xC3\x84", "\xC3\xA4"));  // Ä and ä
}

}  // namespace
}  // namespace quern
