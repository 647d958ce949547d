#pragma once
// The changes that a transaction consists of, as plain values: what the redo log keeps
// (change_codec.h), what has not reached the tables yet (pending.h) and what the tables take
// (tables.h).
//
// Texts and bodies are views: into the caller's values where a change is made, into a record of the
// log where it is read back.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include "queue/core.h"
#include "queue/local/journal_rows.h"

namespace quern {

struct InsertKey {
  KeyIndex index{};
  std::string_view name;
};

struct InsertModel {
  ModelIndex index{};
  std::string_view name;
};

struct SetPaused {
  ModelIndex model{};
  bool paused = false;
};

struct InsertTask {
  TaskRow row;
  std::string_view input;
};

/// Of a live task.
struct UpdateTask {
  TaskRow row;
  std::optional<WallTime> started;  // of the running attempt
};

/// From the live tasks to the ended ones.
struct EndTask {
  TaskRow row;
  std::chrono::microseconds run_time{0};
  std::string_view error;
  std::string_view metadata_json;
  std::string_view outputs;           // as encode_outputs() has them
  std::optional<AttemptRecord> last;  // which it ended with
};

/// Back from the ended tasks to the live ones.
struct ReviveTask {
  TaskRow row;
};

/// After which its task is queued again.
struct InsertAttempt {
  AttemptRecord attempt;
};

/// A line of the same number is replaced.
struct InsertLog {
  TaskId id;
  std::uint64_t number = 0;
  WallTime time;
  LogSeverity severity = LogSeverity::info;
  bool from_quern = false;
  std::string_view message;
};

/// Forgets lines before `first_kept`.
struct DropLogs {
  TaskId id;
  std::uint64_t first_kept = 0;
};

/// An older record of the same key and name is replaced.
struct InsertIdempotency {
  KeyIndex key{};
  std::string_view name;
  IdempotencyRecord record;
};

/// Forgets records made before then, at most `count_max`: of the first ones, or where those are all
/// younger, of ones behind them.
struct RemoveIdempotency {
  WallTime created_before;
  std::uint64_t count_max = 0;
};

/// Forgets an ended task with its input, result, attempts and logs.
struct RemoveEnded {
  TaskId id;
};

struct ReserveLeaseTokens {
  std::uint64_t up_to = 0;
};

using StoreChange = std::variant<InsertKey, InsertModel, SetPaused, InsertTask, UpdateTask, EndTask,
                                 ReviveTask, InsertAttempt, InsertLog, DropLogs, InsertIdempotency,
                                 RemoveIdempotency, RemoveEnded, ReserveLeaseTokens>;

}  // namespace quern
