// The store on a disk that fills up.

#include <gtest/gtest.h>
#include <sys/mount.h>

#include <fstream>
#include <string>

#include "artifact/artifact_store.h"
#include "testing/seeded_random.h"
#include "testing/small_disk.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

namespace fs = std::filesystem;

std::size_t count_files(const fs::path& folder) {
  std::size_t count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) ++count;
  }
  return count;
}

void expect_disk_full(const Error& error) {
  EXPECT_EQ(error.code, ErrorCode::unavailable);
  EXPECT_NE(error.message.find("the disk is full"), std::string::npos) << error.message;
  EXPECT_GT(error.retry_after.count(), 0);
}

TEST(FullDisk, AnUploadSaysSoAndLeavesNoHalfFile) {
  const TempFolder temp;
  const int status = with_small_disk(temp.path(), "size=4m", [&] {
    SeededRandom random(1);
    auto store = ArtifactStore::open(temp.path() / "data", random);
    ASSERT_TRUE(store);
    {
      auto upload = (*store)->start_upload("a.bin", 100U << 20U);
      ASSERT_TRUE(upload);
      Result<void> written;
      const std::string chunk(1U << 20U, 'x');
      for (int i = 0; i < 8 && written; ++i) written = (*upload)->write(chunk);
      ASSERT_FALSE(written);
      expect_disk_full(written.error());
      EXPECT_FALSE((*upload)->finish());
    }
    EXPECT_EQ(count_files(temp.path() / "data"), 0U);

    auto small = (*store)->start_upload("b.txt", 100);
    ASSERT_TRUE(small && (*small)->write("there is room again"));
    EXPECT_TRUE((*small)->finish());
  });
  if (status == kNoSmallDisk) GTEST_SKIP() << "no right to mount a file system here";
  EXPECT_EQ(status, 0);
}

TEST(FullDisk, AnOutputOfAnotherFileSystemIsNotHalfCopied) {
  const TempFolder temp;
  const TempFolder elsewhere;
  std::ofstream(elsewhere.path() / "big.bin") << std::string(8U << 20U, 'x');
  std::ofstream(elsewhere.path() / "small.txt") << "small";
  const int status = with_small_disk(temp.path(), "size=4m", [&] {
    SeededRandom random(1);
    auto store = ArtifactStore::open(temp.path() / "data", random);
    ASSERT_TRUE(store);
    const AttemptFolders folders = *(*store)->make_folders({.high = 1, .low = 1}, 1);
    ASSERT_EQ(::mount(elsewhere.path().c_str(), folders.output.c_str(), nullptr, MS_BIND, nullptr),
              0);

    const auto adopted = (*store)->adopt(folders, "big.bin", OutputType::file);

    ASSERT_FALSE(adopted);
    expect_disk_full(adopted.error());
    EXPECT_EQ(count_files(temp.path() / "data" / "files"), 0U);
    EXPECT_EQ(count_files(temp.path() / "data" / "temp"), 0U);
    EXPECT_TRUE(fs::exists(elsewhere.path() / "big.bin"));
    const auto copied = (*store)->adopt(folders, "small.txt", OutputType::file);
    ASSERT_TRUE(copied) << copied.error().message;
    EXPECT_EQ(copied->file_bytes, 5U);
    EXPECT_FALSE(fs::exists(elsewhere.path() / "small.txt"));
  });
  if (status == kNoSmallDisk) GTEST_SKIP() << "no right to mount a file system here";
  EXPECT_EQ(status, 0);
}

TEST(FullDisk, WithoutRoomForOneMoreNameNothingIsLost) {
  const TempFolder temp;
  const int status = with_small_disk(temp.path(), "size=4m,nr_inodes=40", [&] {
    SeededRandom random(1);
    auto store = ArtifactStore::open(temp.path() / "data", random);
    ASSERT_TRUE(store);
    const auto folders = (*store)->make_folders({.high = 1, .low = 1}, 1);
    ASSERT_TRUE(folders) << folders.error().message;
    std::size_t kept = 0;
    Result<Output> adopted;
    for (int i = 0; i < 30 && adopted; ++i) {
      std::ofstream(folders->output / "a.txt") << i;
      adopted = (*store)->adopt(*folders, "a.txt", OutputType::file);
      if (adopted) ++kept;
    }
    ASSERT_FALSE(adopted);
    expect_disk_full(adopted.error());
    EXPECT_GT(kept, 0U);
    EXPECT_EQ(count_files(temp.path() / "data" / "files"), kept);
  });
  if (status == kNoSmallDisk) GTEST_SKIP() << "no right to mount a file system here";
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace quern
