#pragma once
// What the journal stores beside TaskRow, as plain values.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "queue/core.h"
#include "task/task.h"

namespace quern {

/// The result of an ended task.
struct StoredResult {
  std::chrono::microseconds run_time{0};
  std::string error;
  std::vector<Output> outputs;
  std::string metadata_json;
};

/// An attempt that ended, and what came next.
struct AttemptRecord {
  std::int64_t sequence = 0;
  std::uint64_t token = 0;
  std::uint32_t number = 0;
  WallTime started;
  WallTime ended;
  std::string_view result;
  std::string_view reason;
  bool retried = false;                // the task is queued again
  std::optional<WallTime> retry_at{};  // not before then
};

struct StoredAttempt {
  Attempt attempt;
  bool retried = false;
  std::optional<WallTime> retry_at;
};

/// Of one task. Earlier ones are forgotten: attempts that are given back are not counted, and may be
/// any number.
inline constexpr std::size_t kStoredAttemptsMax = 1'000;

struct EndedTask {
  TaskRow row;
  StoredResult result;
  std::optional<StoredAttempt> last_attempt{};  // which it ended with, if its row has it
};

/// Log lines of a task count from 0; the first kept one's number says how many were dropped.
struct NumberedLog {
  std::uint64_t number = 0;
  LogEntry entry;
};

struct IdempotencyRecord {
  TaskId id;
  std::array<std::uint8_t, 32> fingerprint{};
  WallTime created;
};

/// A task to be forgotten, with its files.
struct ExpiredTask {
  TaskId id;
  std::vector<Output> outputs;  // those that are files
};

/// Results that are read to forget their tasks, about, at one look: it keeps the commit thread.
inline constexpr std::size_t kExpireBytesMax = 4 * 1024 * 1024;

/// What one look for expired tasks has found.
struct ExpiredTasks {
  std::vector<ExpiredTask> tasks;
  std::size_t bytes_read = 0;  // of their results

  /// The look ends here: there may be more.
  [[nodiscard]] bool is_full(std::size_t count_max) const {
    return tasks.size() >= count_max || bytes_read >= kExpireBytesMax;
  }
};

struct StoredModel {
  std::string name;
  bool paused = false;
};

/// Stands for a name that the store lacks. No key and no model is called so: nobody but administrators
/// sees what is under that number.
inline std::string missing_name(std::size_t number) { return "?" + std::to_string(number); }

/// So many names in a row may be lost. A number further beyond those that are known is no name's: it is
/// damaged.
inline constexpr std::int64_t kLostNamesMax = 65'536;

/// Puts a name where its number says, unless it is there. Names come in the order of their numbers.
template <typename Name>
void put_name(std::vector<Name>& names, std::size_t number, Name name) {
  while (names.size() < number) names.push_back(Name{missing_name(names.size())});
  if (names.size() == number) names.push_back(std::move(name));
}

namespace task_flag {
inline constexpr std::int64_t kLowPriority = 1;
inline constexpr std::int64_t kNoRetry = 2;
inline constexpr std::int64_t kCancelRequested = 4;
inline constexpr std::int64_t kStartTimedOut = 8;
}  // namespace task_flag

/// A task's id in two columns: the sequence is the row's key. Exact until the year 2248, when the
/// sequence's 43 bits of milliseconds are used up.
inline std::int64_t chance_of(const TaskId& id) {
  return static_cast<std::int64_t>(id.low & 0x0fff'ffff'ffff'ffffULL);
}

inline TaskId make_task_id(std::int64_t sequence, std::int64_t chance) {
  const auto s = static_cast<std::uint64_t>(sequence);
  return {s >> 4U, (s << 60U) | static_cast<std::uint64_t>(chance)};
}

}  // namespace quern
