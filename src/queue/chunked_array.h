#pragma once
// An array that grows by chunks: elements keep their address, and growing never copies what is
// there, so no single call pays for ten million earlier ones. `Pool` hands its elements out and
// takes them back.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <memory_resource>
#include <vector>

#include "base/assert.h"

namespace quern {

/// Links between pooled elements are half as large as pointers.
using PoolIndex = std::uint32_t;
inline constexpr PoolIndex kNoIndex = std::numeric_limits<PoolIndex>::max();

template <typename T>
class ChunkedArray {
 public:
  /// `memory` is what the chunks are taken from.
  explicit ChunkedArray(std::pmr::memory_resource* memory = std::pmr::new_delete_resource())
      : memory_(memory) {}

  T& operator[](PoolIndex i) { return chunks_[i / kChunk][i % kChunk]; }
  const T& operator[](PoolIndex i) const { return chunks_[i / kChunk][i % kChunk]; }

  [[nodiscard]] PoolIndex size() const { return size_; }

  void push_back(const T& value) {
    QUERN_ASSERT(size_ < kNoIndex);
    if (size_ == chunks_.size() * kChunk) add_chunk();
    (*this)[size_++] = value;
  }
  /// Keeps the memory for the next push_back.
  void pop_back() { --size_; }

 private:
  static constexpr std::size_t kChunk = (std::size_t{1} << 16U) / std::bit_ceil(sizeof(T));

  struct Release {
    std::pmr::memory_resource* memory;
    void operator()(T* chunk) const {
      std::destroy_n(chunk, kChunk);
      memory->deallocate(chunk, kChunk * sizeof(T), alignof(T));
    }
  };

  void add_chunk() {
    chunks_.reserve(chunks_.size() + 1);
    auto* const chunk = static_cast<T*>(memory_->allocate(kChunk * sizeof(T), alignof(T)));
    std::uninitialized_value_construct_n(chunk, kChunk);
    chunks_.emplace_back(chunk, Release{memory_});
  }

  std::pmr::memory_resource* const memory_;
  std::vector<std::unique_ptr<T[], Release>> chunks_;
  PoolIndex size_ = 0;
};

/// `T` has a member `PoolIndex chain`, which is the pool's while the element is free.
template <typename T>
class Pool {
 public:
  explicit Pool(std::pmr::memory_resource* memory = std::pmr::new_delete_resource())
      : items_(memory) {}

  T& operator[](PoolIndex i) { return items_[i]; }
  const T& operator[](PoolIndex i) const { return items_[i]; }

  PoolIndex add(const T& value) {
    if (free_ == kNoIndex) {
      items_.push_back(value);
      return items_.size() - 1;
    }
    const PoolIndex i = free_;
    free_ = items_[i].chain;
    items_[i] = value;
    return i;
  }

  void remove(PoolIndex i) {
    items_[i].chain = free_;
    free_ = i;
  }

 private:
  ChunkedArray<T> items_;
  PoolIndex free_ = kNoIndex;
};

}  // namespace quern
