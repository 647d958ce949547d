#include "catalog/json_compare.h"

#include <gtest/gtest.h>

namespace quern {
namespace {

json::value read(std::string_view text) { return parse_json(text).value(); }

bool equal(std::string_view a, std::string_view b) {
  const bool one_way = json_equal(read(a), read(b));
  EXPECT_EQ(one_way, json_equal(read(b), read(a)));
  EXPECT_EQ(one_way, has_duplicates(json::array{read(a), read(b)})) << a << " " << b;
  return one_way;
}

TEST(JsonCompare, TakesNumbersByTheirValue) {
  EXPECT_TRUE(equal("1", "1.0"));
  EXPECT_TRUE(equal("100", "1e2"));
  EXPECT_TRUE(equal("0", "-0.0"));
  EXPECT_TRUE(equal("18446744073709551615", "18446744073709551615"));
  EXPECT_TRUE(equal("9223372036854775808", "9223372036854775808.0"));
  EXPECT_TRUE(equal("1e300", "1e300"));
  EXPECT_FALSE(equal("1", "1.5"));
  EXPECT_FALSE(equal("-1", "18446744073709551615"));
  EXPECT_FALSE(equal("9007199254740993", "9007199254740992.0"));  // 2^53 + 1 is no double
  EXPECT_FALSE(equal("18446744073709551615", "18446744073709551616.0"));
}

TEST(JsonCompare, KeepsTypesApart) {
  EXPECT_FALSE(equal("0", "false"));
  EXPECT_FALSE(equal("1", "true"));
  EXPECT_FALSE(equal("null", "false"));
  EXPECT_FALSE(equal("\"1\"", "1"));
  EXPECT_FALSE(equal("[]", "{}"));
  EXPECT_FALSE(equal("[[1]]", "[\"[1]\"]"));
}

TEST(JsonCompare, TakesObjectsInAnyOrderAndArraysInTheirs) {
  EXPECT_TRUE(equal(R"({"a":[1,{"b":2.0}],"c":null})", R"({"c":null,"a":[1.0,{"b":2}]})"));
  EXPECT_FALSE(equal("[1,2]", "[2,1]"));
  EXPECT_FALSE(equal("[1]", "[1,1]"));
  EXPECT_FALSE(equal(R"({"a":1})", R"({"a":1,"b":1})"));
  EXPECT_FALSE(equal(R"({"a":1})", R"({"b":1})"));
}

TEST(JsonCompare, OrdersIntegersAndDoublesExactly) {
  EXPECT_TRUE(compare_numbers(read("9007199254740993"), read("9007199254740992.0")) > 0);
  EXPECT_TRUE(compare_numbers(read("-9223372036854775808"), read("18446744073709551615")) < 0);
  EXPECT_TRUE(compare_numbers(read("18446744073709551615"), read("1.8446744073709552e19")) < 0);
  EXPECT_TRUE(compare_numbers(read("2"), read("2.0")) == 0);
}

TEST(JsonCompare, DividesByDecimalDigits) {
  const auto multiple = [](std::string_view n, std::string_view d) {
    return is_multiple(read(n), read(d));
  };

  EXPECT_TRUE(multiple("0", "3"));
  EXPECT_TRUE(multiple("-9", "3"));
  EXPECT_TRUE(multiple("0.3", "0.1"));
  EXPECT_TRUE(multiple("4.5", "1.5"));
  EXPECT_TRUE(multiple("0.0075", "0.0001"));
  EXPECT_TRUE(multiple("3.0", "3"));
  EXPECT_TRUE(multiple("12391239123", "1e-8"));
  EXPECT_TRUE(multiple("1e300", "1e10"));
  EXPECT_TRUE(multiple("18446744073709551615", "5"));
  EXPECT_TRUE(multiple("-9223372036854775808", "2"));
  EXPECT_FALSE(multiple("10", "3"));
  EXPECT_FALSE(multiple("1.5", "1"));
  EXPECT_FALSE(multiple("0.00751", "0.0001"));
  EXPECT_FALSE(multiple("1e308", "0.123456789"));
  EXPECT_FALSE(multiple("5e-324", "1e308"));
  EXPECT_FALSE(multiple("7", "1e19"));
}

}  // namespace
}  // namespace quern
