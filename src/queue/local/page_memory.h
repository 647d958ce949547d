#pragma once
// Memory that goes back to the system when it is given back, whatever lies beside it.

#include <cstddef>
#include <memory_resource>

namespace quern {

/// Whole pages, zeroed, each allocation apart from all others: for a few large ones. Those of malloc would stay
/// with the process wherever something that lives on came to lie between them.
///
/// Errors: std::bad_alloc. Threads: any.
class PageMemory final : public std::pmr::memory_resource {
 public:
  /// Of the whole program; it holds nothing.
  static PageMemory& instance();

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }
};

}  // namespace quern
