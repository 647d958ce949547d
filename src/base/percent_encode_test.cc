#include "base/percent_encode.h"

#include <gtest/gtest.h>

namespace quern {
namespace {

TEST(PercentEncode, EncodesAllButUnreservedCharacters) {
  EXPECT_EQ(percent_encode("aZ0-._~"), "aZ0-._~");
  EXPECT_EQ(percent_encode("a b/\xff"), "a%20b%2F%FF");
}

TEST(PercentEncodeSegment, KeepsIdsAsTheyAre) {
  EXPECT_EQ(percent_encode_segment("mmsu_01m82-A.b..c"), "mmsu_01m82-A.b..c");
  EXPECT_EQ(percent_encode_segment(""), "");
}

TEST(PercentEncodeSegment, EscapesWhatWouldLeadElsewhere) {
  EXPECT_EQ(percent_encode_segment("../a?b#c"), "..%2Fa%3Fb%23c");
  EXPECT_EQ(percent_encode_segment("e%63ho"), "e%2563ho");
  EXPECT_EQ(percent_encode_segment("."), "%2E");
  EXPECT_EQ(percent_encode_segment(".."), "%2E%2E");
  EXPECT_EQ(percent_encode_segment("\xc3\xbc\n"), "%C3%BC%0A");
}

}  // namespace
}  // namespace quern
