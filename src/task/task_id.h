#pragma once
// Task ids: `mmsu_` and a lower-case 26-character ULID (Crockford base 32).

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/random.h"

namespace quern {

/// The text of an id, which needs no memory beside itself.
class TaskIdText {
 public:
  operator std::string_view() const { return {chars_.data(), chars_.size()}; }

 private:
  friend struct TaskId;
  std::array<char, 31> chars_;
};

/// 128 bits: 48 of milliseconds since 1970, 20 of a counter within the millisecond, 60 of chance.
struct TaskId {
  std::uint64_t high = 0;  // 48 bits of time, the counter's upper 16 bits
  std::uint64_t low = 0;   // the counter's lower 4 bits, 60 bits of chance

  /// Time (its lower 43 bits) and counter: positive, unique within one store, ascending with
  /// creation. Two ids of one store are equal if and only if their sequences are.
  [[nodiscard]] std::int64_t sequence() const {
    return static_cast<std::int64_t>(((high << 4U) | (low >> 60U)) & 0x7fff'ffff'ffff'ffffULL);
  }
  [[nodiscard]] TaskIdText text() const;
  [[nodiscard]] std::string to_string() const { return std::string(std::string_view(text())); }
  /// Exactly the form that text() makes; nothing else is an id.
  static std::optional<TaskId> parse(std::string_view text);

  friend auto operator<=>(const TaskId&, const TaskId&) = default;
};

/// Makes ids with strictly ascending sequences, whatever the wall clock does.
/// Threads: one at a time.
class TaskIdGenerator {
 public:
  /// Every id comes after `last_sequence`, the highest one in the store (0 for none).
  TaskIdGenerator(Random& random, std::int64_t last_sequence);
  TaskId next(WallTime now);

 private:
  Random& random_;
  std::int64_t last_;
};

}  // namespace quern

template <>
struct std::hash<quern::TaskId> {
  std::size_t operator()(const quern::TaskId& id) const noexcept {
    return static_cast<std::size_t>(id.low ^ (id.high * 0x9e3779b97f4a7c15ULL));
  }
};
