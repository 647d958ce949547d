#pragma once
// Ended tasks of late, so that their results are answered without a read.
//
// Limits: bytes_max over all shards; the least recently used go first. Threads: any.

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "queue/queue.h"

namespace quern {

/// An ended task in full. Immutable once cached.
struct EndedView {
  TaskView head;  // without the parts below
  std::vector<Output> outputs;
  std::string metadata_json;
  bool has_history = false;  // what follows is filled in
  std::vector<LogEntry> logs;
  std::uint64_t logs_dropped = 0;
  std::vector<Attempt> attempts;

  /// What the query asks for of it.
  [[nodiscard]] TaskView answer(const TaskQuery& query) const;
  [[nodiscard]] std::size_t bytes() const;
};

class ResultCache {
 public:
  /// Stands for the state of the store before a read, to tell later whether it may have changed
  /// since.
  struct Epoch {
    std::uint64_t value = 0;
  };

  explicit ResultCache(std::size_t bytes_max) : shard_bytes_max_(bytes_max / kShards) {}

  void put(EndedView view);
  /// For readers: does nothing if any task of the shard was erased since `epoch`, since then the
  /// view may be of a task that is gone.
  void put_read(std::shared_ptr<const EndedView> view, Epoch epoch);
  [[nodiscard]] Epoch epoch(const TaskId& id);
  [[nodiscard]] std::shared_ptr<const EndedView> find(const TaskId& id);
  void erase(const TaskId& id);

 private:
  static constexpr std::size_t kShards = 16;

  struct Entry {
    std::shared_ptr<const EndedView> view;
    std::size_t bytes = 0;
  };
  struct Shard {
    std::mutex mutex;          // guards the rest
    std::list<Entry> entries;  // the most recently used first
    std::unordered_map<std::int64_t, std::list<Entry>::iterator> by_sequence;
    std::size_t bytes = 0;
    std::uint64_t erased = 0;

    void insert(std::shared_ptr<const EndedView> view, std::size_t bytes_max);
    void remove(std::int64_t sequence);
  };

  /// By the id's chance: sequences of different milliseconds end alike.
  Shard& shard_of(const TaskId& id) { return shards_[id.low % kShards]; }

  std::size_t shard_bytes_max_;
  std::array<Shard, kShards> shards_;
};

}  // namespace quern
