#include "server/first_key.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "testing/process_limit.h"
#include "testing/seeded_random.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

TEST(FirstKey, IsTheSameAtEveryStart) {
  const TempFolder folder;
  SeededRandom random(1);

  const auto first = open_secret(folder.path() / "data", "first-key", random);
  const auto again = open_secret(folder.path() / "data", "first-key", random);

  ASSERT_TRUE(first && again);
  EXPECT_EQ(*first, *again);
  EXPECT_TRUE(open_first_key(folder.path() / "data", random));
}

TEST(FirstKey, ThatCannotBeWrittenLeavesNothingInTheWayOfTheNext) {
  const TempFolder folder;
  SeededRandom random(1);
  {
    const FileSizeLimit full(0);
    const auto refused = open_secret(folder.path(), "first-key", random);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));

  EXPECT_TRUE(open_secret(folder.path(), "first-key", random));
}

}  // namespace
}  // namespace quern
