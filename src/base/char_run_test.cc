#include "base/char_run.h"

#include <gtest/gtest.h>

#include <string>

namespace quern {
namespace {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

TEST(CharRun, EndsWhereTheFirstOtherByteStands) {
  for (std::size_t size = 0; size < 70; ++size) {
    for (std::size_t end = 0; end <= size; ++end) {
      std::string text(size, '7');
      if (end < size) text[end] = '\xFF';
      if (end + 1 < size) text.back() = 'x';
      EXPECT_EQ(count_leading<is_digit>(text), end) << text;
    }
  }
}

}  // namespace
}  // namespace quern
