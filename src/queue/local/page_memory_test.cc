#include "queue/local/page_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

namespace quern {
namespace {

constexpr std::size_t kBytes = 8 * 1024 * 1024 + 100;

/// 0, or why the pages that hold `bytes` from there on are not all there.
int error_of_pages(void* memory, std::size_t bytes) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> resident(bytes / page + 1);
  return ::mincore(memory, bytes, resident.data()) == 0 ? 0 : errno;
}

TEST(PageMemoryTest, GivesZeroedMemoryThatGoesBackToTheSystem) {
  PageMemory& pages = PageMemory::instance();

  auto* const memory = static_cast<char*>(pages.allocate(kBytes));
  EXPECT_TRUE(std::all_of(memory, memory + kBytes, [](char byte) { return byte == 0; }));
  std::memset(memory, 1, kBytes);
  EXPECT_EQ(error_of_pages(memory, kBytes), 0);

  pages.deallocate(memory, kBytes);
  EXPECT_EQ(error_of_pages(memory, kBytes), ENOMEM);
}

TEST(PageMemoryTest, SaysWhenThereIsNoneLeft) {
  EXPECT_THROW(static_cast<void>(PageMemory::instance().allocate(SIZE_MAX / 4)), std::bad_alloc);
}

}  // namespace
}  // namespace quern
