#pragma once
// A hash table over pooled elements that grows by one bucket at a time (linear hashing, Litwin
// 1980): no insertion ever waits for a rehash. Elements are chained by their own `chain` member, so
// an element costs 4 bytes beside that.

#include <bit>
#include <cstdint>
#include <memory_resource>

#include "queue/chunked_array.h"

namespace quern {

/// `T` has `std::uint64_t hash() const` (its low bits count) and `PoolIndex chain`.
template <typename T>
class LinearHash {
 public:
  /// `memory` is what the buckets are taken from.
  explicit LinearHash(Pool<T>& items,
                      std::pmr::memory_resource* memory = std::pmr::new_delete_resource())
      : items_(items), buckets_(memory) {
    buckets_.push_back(kNoIndex);
  }

  /// The element with this hash that `is_it` accepts, or kNoIndex.
  template <typename Predicate>
  [[nodiscard]] PoolIndex find(std::uint64_t hash, Predicate is_it) const {
    PoolIndex i = buckets_[bucket_of(hash)];
    while (i != kNoIndex && !is_it(items_[i])) i = items_[i].chain;
    return i;
  }

  void insert(PoolIndex i) {
    if (++size_ > buckets_.size()) split();
    push(bucket_of(items_[i].hash()), i);
  }

  void erase(PoolIndex i) {
    PoolIndex* at = &buckets_[bucket_of(items_[i].hash())];
    while (*at != i) at = &items_[*at].chain;
    *at = items_[i].chain;
    --size_;
  }

  [[nodiscard]] PoolIndex size() const { return size_; }

 private:
  /// With n buckets, 2^k ≤ n < 2^(k+1): k+1 bits of the hash where that bucket exists already, else
  /// k.
  [[nodiscard]] PoolIndex bucket_of(std::uint64_t hash) const {
    const std::uint64_t top = std::bit_floor(buckets_.size());
    const std::uint64_t wide = hash & (2 * top - 1);
    return static_cast<PoolIndex>(wide < buckets_.size() ? wide : hash & (top - 1));
  }

  void push(PoolIndex bucket, PoolIndex i) {
    items_[i].chain = buckets_[bucket];
    buckets_[bucket] = i;
  }

  /// Adds a bucket, which takes over half of an earlier one.
  void split() {
    const PoolIndex added = buckets_.size();
    const PoolIndex source = added - std::bit_floor(added);
    PoolIndex i = buckets_[source];
    buckets_[source] = kNoIndex;
    buckets_.push_back(kNoIndex);
    while (i != kNoIndex) {
      const PoolIndex next = items_[i].chain;
      push(bucket_of(items_[i].hash()), i);
      i = next;
    }
  }

  Pool<T>& items_;
  ChunkedArray<PoolIndex> buckets_;
  PoolIndex size_ = 0;
};

}  // namespace quern
