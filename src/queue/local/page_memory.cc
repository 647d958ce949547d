#include "queue/local/page_memory.h"

#include <sys/mman.h>

#include <new>

namespace quern {

PageMemory& PageMemory::instance() {
  static PageMemory memory;
  return memory;
}

// A mapping begins at a page, which is more than any alignment asked for here.
void* PageMemory::do_allocate(std::size_t bytes, std::size_t /*alignment*/) {
  void* const pages =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  return pages;
}

void PageMemory::do_deallocate(void* memory, std::size_t bytes, std::size_t /*alignment*/) {
  ::munmap(memory, bytes);
}

}  // namespace quern
