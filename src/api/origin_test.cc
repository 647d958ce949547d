#include "api/origin.h"

#include <gtest/gtest.h>

namespace quern::api {
namespace {

TEST(Origin, IsWhatABrowserSends) {
  for (const char* good : {"https://app.example", "http://localhost:3000", "http://127.0.0.1:65535",
                           "https://x:80", "http://[::1]", "http://[2001:db8::1]:8080",
                           "chrome-extension://abcdef", "https://a_b.c"}) {
    EXPECT_TRUE(is_origin(good)) << good;
  }
  for (const char* bad : {"",
                          "*",
                          "null",
                          "app.example",
                          "https://",
                          "https:///",
                          "https://app.example/",
                          "://x",
                          "https://app.example/path",
                          "https://App.example",
                          "HTTPS://app.example",
                          "https://x:",
                          "https://x:443",
                          "http://x:80",
                          "https://x:0443",
                          "https://x:1:2",
                          "https://x:65536",
                          "https://[::1",
                          "https://[:]",
                          "https://[::A]",
                          "https://a~b.c",
                          "https://x:0",
                          "https://[::1]x",
                          "https://user@x",
                          "https://*.example",
                          "https://x?y",
                          "https:// x"}) {
    EXPECT_FALSE(is_origin(bad)) << bad;
  }
}

}  // namespace
}  // namespace quern::api
