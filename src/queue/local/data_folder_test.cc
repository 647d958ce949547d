// Which folders a data folder that is made leaves to the chance of a power cut: none.

#include "queue/local/data_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "testing/temp_folder.h"

namespace {

thread_local std::vector<std::filesystem::path>* synced = nullptr;

}  // namespace

// In the place of the C library's, for this whole program.
extern "C" int fsync(int fd) {
  if (synced != nullptr) {
    synced->push_back(std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd)));
  }
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

namespace quern {
namespace {

class DataFolderTest : public testing::Test {
 protected:
  std::vector<std::filesystem::path> synced_to_make(const std::filesystem::path& path) {
    std::vector<std::filesystem::path> folders;
    synced = &folders;
    EXPECT_TRUE(DataFolder::lock(path));
    synced = nullptr;
    return folders;
  }

  const TempFolder folder_;
  const std::filesystem::path root_ = std::filesystem::canonical(folder_.path());
};

TEST_F(DataFolderTest, SyncsTheEntryOfEachFolderThatItMakes) {
  EXPECT_THAT(synced_to_make(root_ / "a" / "b" / "c"),
              testing::UnorderedElementsAre(root_, root_ / "a", root_ / "a" / "b"));
  EXPECT_THAT(synced_to_make(root_ / "a" / "d"), testing::ElementsAre(root_ / "a"));
  EXPECT_THAT(synced_to_make(root_ / "e" / ""), testing::Contains(root_));
  EXPECT_THAT(synced_to_make(root_ / "a" / "d"), testing::IsEmpty()) << "it is there";
}

}  // namespace
}  // namespace quern
