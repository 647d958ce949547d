#include "http/message.h"

#include <gtest/gtest.h>

namespace quern::http {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

TEST(Message, FindsTheFirstHeaderOfANameInAnyCase) {
  const Header headers[] = {{"Accept", "a"}, {"X-One", "1"}, {"x-one", "2"}};
  Request request;
  request.headers = headers;

  EXPECT_EQ(request.find_header("x-oNE"), "1");
  EXPECT_EQ(request.find_header("accept"), "a");
  EXPECT_EQ(request.find_header("acceptt"), std::nullopt);
}

TEST(Message, NeverLetsAHeaderValueBeginANewLine) {
  Response response;

  response.add_header("X-Name", "a\r\nSet-Cookie: b\n\x01\x7f\tc\xc3\xa9").add_header("B", "");

  EXPECT_EQ(response.head, "X-Name: a  Set-Cookie: b   \tc\xc3\xa9\r\nB: \r\n");
}

TEST(Message, HasAPhraseForEveryStatus) {
  EXPECT_EQ(reason_phrase(200), "OK");
  EXPECT_EQ(reason_phrase(422), "Unprocessable Content");
  EXPECT_EQ(reason_phrase(499), "Client Closed Request");
  EXPECT_EQ(reason_phrase(418), "Client Error");
  EXPECT_EQ(reason_phrase(599), "Server Error");
  for (unsigned status = 0; status < 1000; ++status) {
    EXPECT_FALSE(reason_phrase(status).empty()) << status;
  }
}

TEST(Message, DecodesEscapesAndRefusesBrokenOnes) {
  EXPECT_EQ(percent_decode("a%41%2fb+c"), "aA/b+c");
  EXPECT_EQ(percent_decode(""), "");
  EXPECT_EQ(percent_decode("%00"), std::string(1, '\0'));
  EXPECT_EQ(percent_decode("%"), std::nullopt);
  EXPECT_EQ(percent_decode("a%4"), std::nullopt);
  EXPECT_EQ(percent_decode("%zz"), std::nullopt);
}

TEST(Message, SplitsAQueryIntoNamesAndValues) {
  EXPECT_EQ(parse_query("a=1&b=x+y&&c&d=%41%3D&=v"),
            (Pairs{{"a", "1"}, {"b", "x y"}, {"c", ""}, {"d", "A="}, {"", "v"}}));
  EXPECT_EQ(parse_query("a=b=c"), (Pairs{{"a", "b=c"}}));
  EXPECT_EQ(parse_query(""), Pairs{});
}

TEST(Message, LeavesBrokenEscapesOfAQueryAsTheyAre) {
  EXPECT_EQ(parse_query("a=%zz%41&b%=%4"), (Pairs{{"a", "%zzA"}, {"b%", "%4"}}));
}

}  // namespace
}  // namespace quern::http
