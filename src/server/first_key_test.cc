#include "server/first_key.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

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

TEST(FirstKey, IsOneForTwoFirstStartsAtOnce) {
  for (std::uint64_t round = 0; round < 50; ++round) {
    const TempFolder folder;
    std::string one;
    std::string other;
    const auto open_into = [&](std::string& secret, std::uint64_t seed) {
      SeededRandom random(seed);
      secret = open_secret(folder.path(), "first-key", random).value();
    };
    std::thread start([&] { open_into(one, 2 * round); });
    open_into(other, 2 * round + 1);
    start.join();
    ASSERT_EQ(one, other);
  }
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

TEST(FirstKey, IsMadeAnewWhereAnInterruptedStartLeftAnEmptyFile) {
  const TempFolder folder;
  SeededRandom random(1);
  std::ofstream(folder.path() / "first-key") << "";
  std::ofstream(folder.path() / "first-key.new") << "half of";

  const auto made = open_secret(folder.path(), "first-key", random);

  ASSERT_TRUE(made) << made.error().message;
  EXPECT_FALSE(made->empty());
  EXPECT_EQ(open_secret(folder.path(), "first-key", random), *made);
  const auto file = std::filesystem::status(folder.path() / "first-key");
  EXPECT_EQ(file.permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST(FirstKey, ThatCannotBeReadIsNotReplaced) {
  const TempFolder folder;
  SeededRandom random(1);
  std::ofstream(folder.path() / "first-key") << "\n";

  EXPECT_FALSE(open_secret(folder.path(), "first-key", random));

  EXPECT_EQ(std::filesystem::file_size(folder.path() / "first-key"), 1U);
}

}  // namespace
}  // namespace quern
