#include "base/text.h"

#include <gtest/gtest.h>

#include <limits>

namespace quern {
namespace {

TEST(Text, AppendsPieceAfterPiece) {
  std::string out = "a";

  append_all(out, "", std::string_view(), "");
  EXPECT_EQ(out, "a");

  append_all(out, "bc", "", std::string(40, 'd'), std::string_view("\0e", 2));
  EXPECT_EQ(out, "abc" + std::string(40, 'd') + std::string("\0e", 2));
}

TEST(Text, GrowsByMoreThanItNeeds) {
  std::string out;
  std::size_t moves = 0;
  for (int i = 0; i < 10'000; ++i) {
    const std::size_t before = out.capacity();
    append_all(out, "0123456789");
    moves += out.capacity() != before;
  }
  EXPECT_LT(moves, 20U);
}

TEST(Text, WritesWholeNumbers) {
  EXPECT_EQ(std::string_view(DecimalText(0)), "0");
  EXPECT_EQ(std::string_view(DecimalText(200)), "200");
  EXPECT_EQ(std::string_view(DecimalText(std::numeric_limits<std::uint64_t>::max())),
            "18446744073709551615");
}

}  // namespace
}  // namespace quern
