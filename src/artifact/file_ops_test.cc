#include "artifact/file_ops.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "testing/process_limit.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

namespace fs = std::filesystem;

FileDescriptor open_folder(const fs::path& path) {
  return FileDescriptor(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

TEST(FileOps, WritingToAFullDiskSaysSoAndWhenToRetry) {
  const FileDescriptor full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(full.is_open());

  const auto written = write_all(full.get(), "x");

  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::unavailable);
  EXPECT_EQ(written.error().message, "writing a file: the disk is full");
  EXPECT_GT(written.error().retry_after.count(), 0);
}

TEST(FileOps, ReplacesAFileWholeOrNotAtAll) {
  const TempFolder temp;
  const fs::path path = temp.path() / "file";
  const auto content = [&] {
    std::ifstream file(path);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  std::ofstream(path) << "old";
  {
    const FileSizeLimit full(0);
    EXPECT_FALSE(replace_file(path, "new"));
  }
  EXPECT_EQ(content(), "old");

  EXPECT_TRUE(replace_file(path, "new"));

  EXPECT_EQ(content(), "new");
  EXPECT_EQ(std::distance(fs::directory_iterator(temp.path()), {}), 1);
}

TEST(FileOps, CopiesFromTheCurrentPositionToTheEnd) {
  const TempFolder temp;
  std::ofstream(temp.path() / "from") << "0123456789";
  const FileDescriptor from(::open((temp.path() / "from").c_str(), O_RDONLY));
  const FileDescriptor to(::open((temp.path() / "to").c_str(), O_RDWR | O_CREAT, 0600));
  ::lseek(from.get(), 4, SEEK_SET);

  ASSERT_TRUE(copy_all(from.get(), to.get()));

  std::string copied;
  std::ifstream(temp.path() / "to") >> copied;
  EXPECT_EQ(copied, "456789");
}

TEST(FileOps, CopiesThroughMemoryWhereTheKernelCannot) {
  const TempFolder temp;
  const FileDescriptor from(::open("/dev/zero", O_RDONLY));
  const FileDescriptor to(::open("/dev/full", O_WRONLY));

  const auto copied = copy_all(from.get(), to.get());

  ASSERT_FALSE(copied);
  EXPECT_EQ(copied.error().message, "writing a file: the disk is full");
}

TEST(FileOps, CopyingStopsWhenAskedTo) {
  std::stop_source stop;
  stop.request_stop();
  EXPECT_FALSE(copy_all(-1, -1, stop.get_token()));
}

TEST(FileOps, RemovesATreeDeeperThanAnyDescriptorLimit) {
  constexpr int kDepth = 200;
  const TempFolder temp;
  FileDescriptor folder = open_folder(temp.path());
  for (int i = 0; i < kDepth; ++i) {
    ASSERT_EQ(::mkdirat(folder.get(), "d", 0700), 0);
    ASSERT_EQ(::symlinkat("..", folder.get(), "up"), 0);
    folder = FileDescriptor(::openat(folder.get(), "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(folder.is_open());
  }

  folder = open_folder(temp.path());
  {
    const ProcessLimit few(RLIMIT_NOFILE, 40);
    EXPECT_TRUE(remove_tree(folder.get(), "d"));
  }
  EXPECT_FALSE(fs::exists(temp.path() / "d"));
}

TEST(FileOps, RemovesFoldersThatWereClosedAndWideOnes) {
  const TempFolder temp;
  const fs::path tree = temp.path() / "tree";
  fs::create_directories(tree / "a" / "b");
  fs::create_directories(tree / "c");
  fs::create_directories(tree / ".removing-0" / "x");
  std::ofstream(tree / ".removing-1") << "in the way";
  for (int i = 0; i < 100; ++i) std::ofstream(tree / "c" / std::to_string(i)) << i;
  ::chmod((tree / "a" / "b").c_str(), 0);
  ::chmod((tree / "a").c_str(), 0);

  EXPECT_TRUE(remove_tree(open_folder(temp.path()).get(), "tree"));

  EXPECT_FALSE(fs::exists(tree));
}

TEST(FileOps, RemovingATreeFollowsNoLink) {
  const TempFolder temp;
  fs::create_directories(temp.path() / "tree" / "sub");
  fs::create_directories(temp.path() / "other");
  std::ofstream(temp.path() / "other" / "kept") << "x";
  fs::create_symlink(temp.path() / "other", temp.path() / "tree" / "sub" / "link");
  fs::create_symlink(temp.path() / "other", temp.path() / "link");
  const FileDescriptor parent = open_folder(temp.path());

  EXPECT_TRUE(remove_tree(parent.get(), "tree"));
  EXPECT_TRUE(remove_tree(parent.get(), "link"));
  EXPECT_TRUE(remove_tree(parent.get(), "missing"));

  EXPECT_TRUE(fs::exists(temp.path() / "other" / "kept"));
}

}  // namespace
}  // namespace quern
