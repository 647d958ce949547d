#pragma once
// Inputs of the newest tasks, so that a claim soon after the submit needs no read.
//
// They lie in slabs in the order of their submission: an input costs no allocation of its own while
// it is kept. A slab is free again once all of its inputs are taken; until then it counts whole.
//
// Limits: bytes_max in all, and no body over an eighth of it; the oldest slab goes first. Threads:
// one at a time.

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "task/task_id.h"

namespace quern {

class BodyCache {
 public:
  explicit BodyCache(std::size_t bytes_max);

  /// Sequences are put in ascending order, each once.
  void put(const TaskId& id, std::string_view body);
  /// The body, which leaves the cache.
  std::optional<std::string> take(const TaskId& id);
  /// The memory that is held, at most bytes_max.
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  /// Where a body lies in its slab.
  struct Entry {
    std::int64_t sequence;
    std::uint32_t offset;
    std::uint32_t size;
  };
  static constexpr std::uint32_t kTaken = std::numeric_limits<std::uint32_t>::max();

  /// One allocation: entries from its front, in ascending order, and their bodies from its back.
  class Slab {
   public:
    explicit Slab(std::size_t bytes);

    [[nodiscard]] std::size_t bytes() const { return bytes_; }
    /// The sequence of its first body; there is one.
    [[nodiscard]] std::int64_t first() const { return memory_[0].sequence; }
    /// Every body that was added has been taken.
    [[nodiscard]] bool is_spent() const { return left_ == 0; }
    [[nodiscard]] bool has_room(std::size_t body_bytes) const;
    void add(std::int64_t sequence, std::string_view body);
    std::optional<std::string> take(std::int64_t sequence);
    void clear();

   private:
    [[nodiscard]] Entry* find(std::int64_t sequence);

    std::unique_ptr<Entry[]> memory_;
    std::size_t bytes_;
    std::size_t bodies_begin_;  // an offset into memory_
    std::size_t count_ = 0;     // entries
    std::size_t left_ = 0;      // of them, those that are not taken
    std::size_t next_ = 0;      // the entry after the last one that was taken
  };

  /// Makes room for it, if it must.
  void add_slab(std::size_t body_bytes);
  /// The slab becomes the spare one if there is none, else it is freed.
  void remove_slab(std::size_t index);

  std::size_t bytes_max_;
  std::size_t slab_bytes_;
  std::size_t bytes_ = 0;
  std::int64_t last_ = 0;      // the highest sequence that was put
  std::vector<Slab> slabs_;    // the oldest first, none spent; bodies are put into the last one
  std::optional<Slab> spare_;  // of slab_bytes_, so that a steady flow allocates nothing
};

}  // namespace quern
