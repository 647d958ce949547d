#include "api/upload_parts.h"

#include <gtest/gtest.h>

#include "artifact/artifact_store_fixture.h"
#include "testing/process_limit.h"

namespace quern::api {
namespace {

class UploadPartsTest : public ArtifactStoreTest {
 protected:
  static constexpr std::uint64_t kWholeBytesMax = 10;

  void put_part(std::uint32_t part, const std::string& bytes) {
    upload(std::string(kUploadPartName), bytes, links_.file_key("nonce", part));
  }
  Result<Output> whole_of(std::vector<std::uint32_t> parts) {
    return assemble(*store_, links_, {"nonce", "whole.txt", std::move(parts)}, kWholeBytesMax);
  }
  bool has_part(std::uint32_t part) const {
    return store_->find_path(links_.file_key("nonce", part), kUploadPartName).has_value();
  }

  const UploadLinks links_{"secret", random_};
};

TEST_F(UploadPartsTest, MakesOneFileOfThemInTheirOrderAndFindsItAgain) {
  put_part(7, "end");
  put_part(1, "begin, ");
  for (int time = 1; time <= 2; ++time) {
    const auto whole = whole_of({1, 7});
    ASSERT_TRUE(whole) << whole.error().message;
    EXPECT_EQ(whole->file_name, "whole.txt");
    EXPECT_EQ(whole->file_bytes, 10U);
    EXPECT_EQ(content(*whole), "begin, end");
    EXPECT_FALSE(has_part(1) || has_part(7)) << time;
  }
}

TEST_F(UploadPartsTest, SaysWhichPartWasNotUploadedAndKeepsTheOthers) {
  put_part(1, "here");
  const auto whole = whole_of({1, 2});
  ASSERT_FALSE(whole);
  EXPECT_EQ(whole.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(whole.error().message, "Part 2 was not uploaded");
  EXPECT_TRUE(has_part(1));
}

TEST_F(UploadPartsTest, RefusesAWholeThatIsTooLargeAndKeepsItsParts) {
  put_part(1, "begin, ");
  put_part(2, "over");
  const auto whole = whole_of({1, 2});
  ASSERT_FALSE(whole);
  EXPECT_EQ(whole.error().code, ErrorCode::too_large);
  EXPECT_TRUE(has_part(1) && has_part(2));
}

TEST_F(UploadPartsTest, NoPartCountsAsMissingWhileThereAreNoDescriptors) {
  put_part(1, "begin, ");
  put_part(2, "end");
  int refused = 0;
  for (std::size_t left = 0;; ++left, ++refused) {
    ASSERT_LT(left, 20U);
    const auto whole = [&] {
      const DescriptorsLeft few(left);
      return whole_of({1, 2});
    }();
    if (whole) {
      EXPECT_EQ(content(*whole), "begin, end");
      break;
    }
    EXPECT_EQ(whole.error().code, ErrorCode::unavailable) << left << ": " << whole.error().message;
    EXPECT_TRUE(has_part(1) && has_part(2)) << left;
  }
  EXPECT_GT(refused, 1);
}

}  // namespace
}  // namespace quern::api
