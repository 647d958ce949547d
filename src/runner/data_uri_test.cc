#include "runner/data_uri.h"

#include <gtest/gtest.h>

#include <string>

namespace quern {
namespace {

using namespace std::string_literals;

constexpr std::uint64_t kBytesMax = 100;

std::string decode(std::string_view uri) {
  auto bytes = decode_data_uri(uri, kBytesMax);
  return bytes ? *bytes : "(" + bytes.error().message + ")";
}

TEST(DataUri, DecodesBase64WithAndWithoutPadding) {
  EXPECT_EQ(decode("data:text/plain;base64,aGVsbG8="), "hello");
  EXPECT_EQ(decode("data:text/plain;base64,aGVsbG8"), "hello");
  EXPECT_EQ(decode("data:text/plain;base64,aGVsbA=="), "hell");
  EXPECT_EQ(decode("data:text/plain;base64,aGVs"), "hel");
  EXPECT_EQ(decode("data:;base64,AAEC/+8="), "\0\1\2\xff\xef"s);
  EXPECT_EQ(decode("DATA:Image/PNG;Base64,aGVs"), "hel");
  EXPECT_EQ(decode("data:text/plain;charset=utf-8;base64,aGVs"), "hel");
  EXPECT_EQ(decode("data:text/plain;base64,"), "");
}

TEST(DataUri, PassesOverBlanksAndEscapesInBase64) {
  EXPECT_EQ(decode("data:text/plain;base64,aGVs\r\n bG8=\n"), "hello");
  EXPECT_EQ(decode("data:text/plain;base64,aGVsbG8%3D"), "hello");
  EXPECT_EQ(decode("data:text/plain;base64,aGVsbA=%3d "), "hell");
}

TEST(DataUri, DecodesEveryByteValue) {
  std::string bytes;
  std::string escaped = "data:application/octet-stream,";
  for (int i = 0; i < 100; ++i) {
    bytes += static_cast<char>(i * 2 + 1);
    constexpr const char* kHex = "0123456789abcdef";
    escaped += {'%', kHex[(i * 2 + 1) >> 4], kHex[(i * 2 + 1) & 15]};
  }
  EXPECT_EQ(decode(escaped), bytes);
}

TEST(DataUri, DecodesPercentEscapesAndLeavesTheRest) {
  EXPECT_EQ(decode("data:text/plain,a%20b+c"), "a b+c");
  EXPECT_EQ(decode("data:,hello, world"), "hello, world");
  EXPECT_EQ(decode("data:text/plain,100%"), "100%");
  EXPECT_EQ(decode("data:text/plain,%4"), "%4");
  EXPECT_EQ(decode("data:text/plain,%zz%41"), "%zzA");
  EXPECT_EQ(decode("data:image/svg+xml,<svg>"), "<svg>");
}

TEST(DataUri, SaysWhereBase64IsBroken) {
  EXPECT_EQ(decode("data:text/plain;base64,aGV!bG8="),
            "(broken base64 at character 4 of the data)");
  EXPECT_EQ(decode("data:text/plain;base64,aG=VsbG8"),
            "(broken base64 at character 3 of the data)");
  EXPECT_EQ(decode("data:text/plain;base64,aGVsb==="),
            "(broken base64 at character 6 of the data)");
  EXPECT_EQ(decode("data:text/plain;base64,aGVsb"), "(base64 data is cut short)");
  EXPECT_EQ(decode("data:text/plain;base64,a-_b"), "(broken base64 at character 2 of the data)");
}

TEST(DataUri, PassesOverBlanksAroundParameters) {
  EXPECT_EQ(decode("data:text/plain; charset=utf-8,hello"), "hello");
  EXPECT_EQ(decode("data:text/plain;\tcharset=utf-8 ; base64,aGVs"), "hel");
  EXPECT_EQ(decode("data:text/plain;base64 ,aGVs"), "hel");
  EXPECT_EQ(decode("data:text/plain ,hello"), "hello");
  EXPECT_EQ(decode("data:; base64,aGVs"), "hel");
}

TEST(DataUri, TakesBase64ForAnEncodingAtTheEndOfTheHeadAlone) {
  EXPECT_EQ(decode("data:text/plain;base64;charset=utf-8,aGVs"), "aGVs");
  EXPECT_EQ(decode("data:text/plain;xbase64,aGVs"), "aGVs");
  EXPECT_EQ(decode("data:text/base64,aGVs"), "aGVs");
}

TEST(DataUri, HasAHeadOfAnyLength) {
  EXPECT_EQ(decode("data:text/plain;name=" + std::string(10'000, 'a') + ";base64,aGVs"), "hel");
}

TEST(DataUri, IsNotProseThatBeginsLikeOne) {
  for (const char* text :
       {"data: a list, sorted", "data:", "data:text/plain", "data:image png;base64,aGVs",
        "data:hello,world", "data:/x,y", "data:x/,y", "metadata:text/plain,x", "dat", "",
        "data:text/plain;base64", "data: yes/no, maybe", "data:and/or what, when",
        "data:a/b; one two, three", "data:a/b c; d, e"}) {
    EXPECT_FALSE(is_data_uri(text)) << text;
    EXPECT_FALSE(decode_data_uri(text, kBytesMax)) << text;
  }
}

TEST(DataUri, EndsAtTheLimit) {
  const std::string exact = "data:text/plain," + std::string(kBytesMax, 'x');
  EXPECT_EQ(decode(exact).size(), kBytesMax);

  const auto more = decode_data_uri(exact + "x", kBytesMax);

  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, ErrorCode::too_large);
}

}  // namespace
}  // namespace quern
