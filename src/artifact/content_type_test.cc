#include "artifact/content_type.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>

namespace quern {
namespace {

std::string type_of(const std::string& content) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), &std::fclose);
  std::fwrite(content.data(), 1, content.size(), file.get());
  std::fflush(file.get());
  return find_content_type(::fileno(file.get())).value_or("unreadable");
}

TEST(SqueezeBlanks, LeavesLittleOfWhatIsBlank) {
  for (const char* blank : {"\n", " ", "\t\n", "\n\r", " \f\v"}) {
    std::string text = "a";
    while (text.size() < 60'000) text += blank;
    EXPECT_EQ(squeeze_blanks(text + 'b').size(), 34U) << blank;
  }
}

TEST(SqueezeBlanks, LeavesShortBlanksAndAllThatIsNoText) {
  const std::string long_blank(1'000, ' ');
  const std::string nothing(1, '\0');
  for (const std::string& text : {std::string(), "a\n\n  b\x1b[0m" + std::string(32, '\n') + "c",
                                  nothing + long_blank, long_blank + '\x01'}) {
    EXPECT_EQ(squeeze_blanks(text), text);
  }
}

TEST(ContentType, IsToldPastAnyBlanks) {
  const std::string blank(60'000, '\n');
  EXPECT_EQ(type_of(blank), "text/plain");
  EXPECT_EQ(type_of("a" + blank + "b"), "text/plain");
  EXPECT_EQ(type_of(blank + R"({"a":[1, 2]})"), "application/json");
  EXPECT_EQ(type_of(blank + "<svg xmlns=\"http://www.w3.org/2000/svg\"/>"), "image/svg+xml");
}

}  // namespace
}  // namespace quern
