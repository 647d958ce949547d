#include "client/part_file.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <fstream>

#include "testing/process_limit.h"
#include "testing/temp_folder.h"

namespace quern::client {
namespace {

namespace fs = std::filesystem;

std::string content_of(const fs::path& file) {
  std::string text;
  std::getline(std::ifstream(file), text, '\0');
  return text;
}

TEST(PartFile, IsGoneUnlessItIsMoved) {
  const TempFolder folder;
  SystemRandom random;
  {
    Result<PartFile> part = PartFile::make(folder.path(), random);
    ASSERT_TRUE(part) << part.error().message;
    EXPECT_TRUE(part->write("abc", 3));
    EXPECT_FALSE(fs::is_empty(folder.path()));
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(PartFile, BeginsAnewWithoutWhatItHad) {
  const TempFolder folder;
  SystemRandom random;
  Result<PartFile> part = PartFile::make(folder.path(), random);
  ASSERT_TRUE(part) << part.error().message;

  EXPECT_TRUE(part->write("abcdef", 6));
  EXPECT_TRUE(part->restart());
  EXPECT_TRUE(part->write("xy", 2));
  EXPECT_TRUE(part->move_to(folder.path() / "a"));

  EXPECT_EQ(part->size(), 2U);
  EXPECT_EQ(content_of(folder.path() / "a"), "xy");
}

TEST(PartFile, TellsOfAFullDiskWhenItIsMoved) {
  const TempFolder folder;
  SystemRandom random;
  {
    Result<PartFile> part = PartFile::make(folder.path(), random);
    ASSERT_TRUE(part) << part.error().message;
    const FileSizeLimit limit(4);
    EXPECT_FALSE(part->write("abcdef", 6));

    const Result<fs::path> file = part->move_to_free_name(folder.path(), "a");

    ASSERT_FALSE(file);
    EXPECT_EQ(file.error().message,
              "cannot write " + (folder.path() / "a").string() + ": File too large");
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(PartFile, TakesNoNameThatIsTakenWhateverTheFileSystemCanDo) {
  for (const auto rename : {rename_to_free, rename_to_free_in_steps}) {
    const TempFolder folder;
    std::ofstream(folder.path() / "from") << "new";
    std::ofstream(folder.path() / "taken") << "old";
    fs::create_symlink("nowhere", folder.path() / "link");

    EXPECT_EQ(rename(folder.path() / "from", folder.path() / "taken"), EEXIST);
    EXPECT_EQ(rename(folder.path() / "from", folder.path() / "link"), EEXIST);
    EXPECT_EQ(rename(folder.path() / "from", folder.path() / "none" / "to"), ENOENT);
    EXPECT_EQ(content_of(folder.path() / "taken"), "old");
    EXPECT_EQ(rename(folder.path() / "from", folder.path() / "to"), 0);

    EXPECT_EQ(content_of(folder.path() / "to"), "new");
    EXPECT_FALSE(fs::exists(folder.path() / "from"));
    EXPECT_EQ(rename(folder.path() / "from", folder.path() / "again"), ENOENT);
    EXPECT_FALSE(fs::exists(folder.path() / "again"));
  }
}

}  // namespace
}  // namespace quern::client
