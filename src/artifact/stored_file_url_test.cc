#include "artifact/stored_file_url.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace quern {
namespace {

const std::string kKey = "0123456789abcdef0123456789abcdef";

TEST(StoredFileUrl, IsKnownByItsPathWhateverComesBefore) {
  for (const std::string before : {"http://a", "https://a:8080", "http://[::1]/some/prefix"}) {
    const auto url = parse_stored_file_url(before + "/files/" + kKey + "/my%20photo.png?a=/b#/c");
    ASSERT_TRUE(url) << before;
    EXPECT_EQ(url->file_key, kKey);
    EXPECT_EQ(url->file_name, "my photo.png");
  }
}

TEST(StoredFileUrl, IsNothingElse) {
  for (const std::string& text : std::vector<std::string>{
           "", "/files/" + kKey + "/a", "ftp://a/files/" + kKey + "/a", "http://a/files/" + kKey,
           "http://a/files/" + kKey + "/", "http://a/file/" + kKey + "/a", "http://a/files/0123/a",
           "http://a/files/" + kKey + "/a/b", "http://files/" + kKey + "/a",
           "http://a/?x=/files/" + kKey + "/a", "see http://a/files/" + kKey + "/a"}) {
    EXPECT_FALSE(parse_stored_file_url(text)) << text;
  }
}

}  // namespace
}  // namespace quern
