#include "http/host.h"

#include <gtest/gtest.h>

namespace quern::http {
namespace {

TEST(Host, IsANameOrAnAddressWithAPortOrNone) {
  for (const auto* host : {"a", "A-b_c.d~.", "1.2.3.4", "a:", "a:0", "a:80", "a:00080", "a:65535",
                           "[::]", "[::1]:", "[::1]:80", "[2001:DB8::1]", "[::ffff:1.2.3.4]:1",
                           "[1111:2222:3333:4444:5555:6666:123.123.123.123]"})
    EXPECT_TRUE(is_host_and_port(host)) << host;
}

TEST(Host, IsNothingThatAUrlCouldNotBeBuiltWith) {
  for (const auto* host : {"",
                           ":",
                           ":80",
                           "[",
                           "]",
                           "[]",
                           "[]:80",
                           "[::1",
                           "::1",
                           "::1]",
                           "a:b",
                           "a:b:c",
                           "a:1:2",
                           "a:65536",
                           "a:-1",
                           "a:+1",
                           "a:1 ",
                           "a:99999999999999999999",
                           "[::1]80",
                           "[::1]]",
                           "[::1]:x",
                           "[::1]:65536",
                           "a[::1]",
                           "[1.2.3.4]",
                           "[v1.a]",
                           "[::g]",
                           "[:]",
                           "[1]",
                           "[::1%25lo]",
                           "[::1::]",
                           "[1111:2222:3333:4444:5555:6666:7777:8888:9999:0000]",
                           "a/b",
                           "a b",
                           "a%41",
                           "a\"b",
                           "u@a",
                           "a?b",
                           "a\\b",
                           "\xc3\xa9",
                           "a,b"})
    EXPECT_FALSE(is_host_and_port(host)) << host;
  EXPECT_FALSE(is_host_and_port(std::string_view("a\0b", 3)));
  EXPECT_FALSE(is_host_and_port(std::string_view("[::1\0]", 6)));
}

}  // namespace
}  // namespace quern::http
