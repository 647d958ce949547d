#pragma once
// Rows as SQLite gives them, as values; and values as parameters. Shared by both sides of the
// store.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "queue/local/journal_rows.h"
#include "queue/local/sqlite.h"

namespace quern {

#define QUERN_LIVE_COLUMNS                                                                    \
  "seq, chance, key, model, state, flags, attempts, rank, token, submitted, start_deadline, " \
  "not_before, started"
#define QUERN_ENDED_HEAD_COLUMNS \
  "seq, chance, key, model, state, flags, attempts, submitted, ended, run_time, error_type, error"
#define QUERN_ENDED_COLUMNS \
  QUERN_ENDED_HEAD_COLUMNS  \
  ", metadata, outputs, last_number, last_started, last_result, last_reason"
#define QUERN_LOG_COLUMNS "number, time, severity, from_quern, message"

inline std::int64_t stored_time(WallTime time) { return time.time_since_epoch().count(); }
inline WallTime wall_time(std::int64_t stored) {
  return WallTime{std::chrono::microseconds{stored}};
}

void bind_time(Statement& statement, int parameter, std::optional<WallTime> time);
std::optional<WallTime> time_of(const Statement& statement, int column);

std::int64_t flags_of(const TaskRow& row);

/// Of QUERN_LIVE_COLUMNS.
TaskRow read_live(const Statement& statement);
/// Of QUERN_ENDED_HEAD_COLUMNS: the result without outputs and metadata.
EndedTask read_ended_head(const Statement& statement);
/// Of QUERN_ENDED_COLUMNS. Errors: data_loss.
Result<EndedTask> read_ended(const Statement& statement);
/// Of QUERN_LOG_COLUMNS.
NumberedLog read_log(const Statement& statement);

/// The rows of `query`, which is bound already, through `read`; then resets it.
template <typename T, typename Read>
Result<std::vector<T>> read_all(Statement& query, Read read) {
  const StatementReset reset(query);
  std::vector<T> rows;
  for (;;) {
    const int code = query.step();
    if (code == kSqliteDone) return rows;
    if (code != kSqliteRow) return std::unexpected(sqlite_error(code, "the store cannot be read"));
    rows.push_back(read(query));
  }
}

}  // namespace quern
