#pragma once
// Inputs of the newest tasks, so that a claim soon after the submit needs no read.
//
// Limits: bytes_max in all, and no body over an eighth of it; the oldest go first. Threads: one at
// a time.

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>

#include "task/task_id.h"

namespace quern {

class BodyCache {
 public:
  explicit BodyCache(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  void put(const TaskId& id, std::string body) {
    const std::size_t bytes = body.size() + kEntryBytes;
    if (bytes > bytes_max_ / 8) return;
    bytes_ += bytes;
    bodies_.insert_or_assign(id.sequence(), std::move(body));
    order_.push_back(id.sequence());
    while (bytes_ > bytes_max_) drop_oldest();
  }
  /// The body, which leaves the cache.
  std::optional<std::string> take(const TaskId& id) {
    const auto found = bodies_.find(id.sequence());
    if (found == bodies_.end()) return std::nullopt;
    std::optional<std::string> body(std::move(found->second));
    bytes_ -= body->size() + kEntryBytes;
    bodies_.erase(found);
    forget_gone();
    return body;
  }

 private:
  static constexpr std::size_t kEntryBytes = 96;  // of the containers, about

  void drop_oldest() {
    const auto found = bodies_.find(order_.front());
    order_.pop_front();
    if (found == bodies_.end()) return;
    bytes_ -= found->second.size() + kEntryBytes;
    bodies_.erase(found);
  }
  /// Keeps order_ in proportion to what is there: taken bodies leave their number behind.
  void forget_gone() {
    while (!order_.empty() && !bodies_.contains(order_.front())) order_.pop_front();
    if (order_.size() > 2 * bodies_.size() + 1'024) {
      std::erase_if(order_, [this](std::int64_t sequence) { return !bodies_.contains(sequence); });
    }
  }

  std::size_t bytes_max_;
  std::size_t bytes_ = 0;
  std::unordered_map<std::int64_t, std::string> bodies_;  // by sequence
  std::deque<std::int64_t> order_;                        // sequences, the oldest first
};

}  // namespace quern
