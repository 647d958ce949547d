#include "queue/local/tables.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <thread>
#include <utility>

#include "base/assert.h"
#include "queue/local/data_folder.h"
#include "queue/local/row_codec.h"
#include "queue/local/schema.h"
#include "queue/local/sqlite.h"

namespace quern {
namespace {

/// Every statement of the writing side, prepared once.
enum class Sql : std::uint8_t {
  begin,
  commit,
  insert_key,
  insert_model,
  set_paused,
  insert_task,
  update_task,
  delete_task,
  revive_task,
  insert_ended,
  end_task,
  delete_ended,
  keep_last_attempt,
  insert_input,
  delete_input,
  insert_attempt,
  drop_attempts,
  delete_attempts,
  insert_log,
  drop_logs,
  delete_logs,
  insert_idempotency,
  delete_idempotency,
  end_of_idempotency,
  reserve_tokens,
  set_applied,
  count,
};

#define QUERN_INSERT_ENDED                          \
  "INSERT OR FAIL INTO ended (" QUERN_ENDED_COLUMNS \
  ", last_token, body) VALUES (?1, ?, ?, ?, ?, ?, " \
  "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "

// The log has the last word, so a row that is there gives way: by OR REPLACE, or, where every task has
// such a row, by put(), which costs less.
constexpr auto kSql = std::to_array<std::string_view>({
    "BEGIN IMMEDIATE",
    "COMMIT",
    "INSERT OR REPLACE INTO key_name (id, name) VALUES (?, ?)",
    "INSERT OR REPLACE INTO model_name (id, name) VALUES (?, ?)",
    "UPDATE model_name SET paused = ?2 WHERE id = ?1",
    "INSERT OR FAIL INTO task (" QUERN_LIVE_COLUMNS
    ", body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "UPDATE task SET state = ?2, flags = ?3, attempts = ?4, rank = ?5, token = ?6,"
    " start_deadline = ?7, not_before = ?8, started = ?9 WHERE seq = ?1",
    "DELETE FROM task WHERE seq = ?",
    "INSERT OR FAIL INTO task (" QUERN_LIVE_COLUMNS
    ", body) VALUES (?1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
    " (SELECT body FROM ended WHERE seq = ?1))",
    QUERN_INSERT_ENDED "?)",
    QUERN_INSERT_ENDED "(SELECT body FROM task WHERE seq = ?1))",
    "DELETE FROM ended WHERE seq = ?",
    "INSERT OR REPLACE INTO attempt (seq, token, number, started, ended, result, reason, retried)"
    " SELECT seq, last_token, last_number, last_started, ended, last_result, last_reason, 0"
    " FROM ended WHERE seq = ? AND last_token IS NOT NULL",
    "INSERT OR FAIL INTO input (seq, body) VALUES (?, ?)",
    "DELETE FROM input WHERE seq = ?",
    "INSERT OR REPLACE INTO attempt (seq, token, number, started, ended, result, reason, retried, "
    "retry_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "DELETE FROM attempt WHERE seq = ?1 AND token <="
    " (SELECT token FROM attempt WHERE seq = ?1 ORDER BY token DESC LIMIT 1 OFFSET ?2)",
    "DELETE FROM attempt WHERE seq = ?",
    "INSERT OR REPLACE INTO log (seq, " QUERN_LOG_COLUMNS ") VALUES (?, ?, ?, ?, ?, ?)",
    "DELETE FROM log WHERE seq = ? AND number < ?",
    "DELETE FROM log WHERE seq = ?",
    "INSERT OR REPLACE INTO idempotency (seq, chance, key, name, fingerprint, created)"
    " VALUES (?, ?, ?, ?, ?, ?)",
    "DELETE FROM idempotency WHERE seq > ?1 AND seq <= ?2 AND created < ?3",
    "SELECT max(seq) FROM (SELECT seq FROM idempotency WHERE seq > ?1 ORDER BY seq LIMIT ?2)",
    "UPDATE store SET lease_tokens = ?",
    "UPDATE store SET applied = ?",
});
static_assert(kSql.size() == static_cast<std::size_t>(Sql::count));

/// After so many the core is offered to whoever waits for it: some 0.2 ms. A system may otherwise leave
/// a thread its core until the next tick, up to 4 ms, although a commit waits there.
constexpr std::size_t kTasksPerTurn = 32;
constexpr std::uint64_t kRecordsPerTurn = 64;  // of idempotency, to be forgotten

Error write_error(int code) { return sqlite_error(code, "the store cannot be written"); }

const PendingHistory kNoHistory;

/// In the order of the trees, so that a page is changed once. Tasks mostly come so by themselves.
std::vector<const PendingTask*> in_order(const Pending& pending) {
  std::vector<const PendingTask*> tasks;
  tasks.reserve(pending.tasks().size());
  for (const PendingTask& task : pending.tasks()) tasks.push_back(&task);
  if (!std::ranges::is_sorted(tasks, {}, &PendingTask::sequence)) {
    std::ranges::sort(tasks, {}, &PendingTask::sequence);
  }
  return tasks;
}

/// The parameters of QUERN_LIVE_COLUMNS.
Statement& bind_live(Statement& sql, const TaskRow& row, std::optional<WallTime> started) {
  sql.bind(1, row.id.sequence()).bind(2, chance_of(row.id));
  sql.bind(3, static_cast<std::int64_t>(row.key)).bind(4, static_cast<std::int64_t>(row.model));
  sql.bind(5, static_cast<std::int64_t>(row.state)).bind(6, flags_of(row));
  sql.bind(7, std::int64_t{row.attempts_started}).bind(8, row.rank).bind(9, row.lease_token);
  sql.bind(10, stored_time(row.submitted));
  bind_time(sql, 11, row.start_deadline);
  bind_time(sql, 12, row.not_before);
  bind_time(sql, 13, started);
  return sql;
}

/// The parameters of QUERN_ENDED_COLUMNS and the last attempt's token.
Statement& bind_ended(Statement& sql, const EndTask& end) {
  const TaskRow& row = end.row;
  sql.bind(1, row.id.sequence()).bind(2, chance_of(row.id));
  sql.bind(3, static_cast<std::int64_t>(row.key)).bind(4, static_cast<std::int64_t>(row.model));
  sql.bind(5, static_cast<std::int64_t>(row.state)).bind(6, flags_of(row));
  sql.bind(7, std::int64_t{row.attempts_started}).bind(8, stored_time(row.submitted));
  sql.bind(9, stored_time(row.ended.value_or(row.submitted)));
  sql.bind(10, std::int64_t{end.run_time.count()});
  sql.bind(11, static_cast<std::int64_t>(row.error_type)).bind(12, end.error);
  sql.bind(13, end.metadata_json).bind(14, end.outputs);
  if (end.last) {
    sql.bind(15, std::int64_t{end.last->number}).bind(16, stored_time(end.last->started));
    sql.bind(17, end.last->result).bind(18, end.last->reason).bind(19, end.last->token);
  } else {
    for (int parameter = 15; parameter <= 19; ++parameter) sql.bind_null(parameter);
  }
  return sql;
}

/// Creates the tables of an empty file, or brings those of an older version up to date; refuses a
/// file of a newer one.
Result<void> prepare_schema(Connection& connection, std::int64_t version) {
  if (version == kSchemaVersion) return {};
  if (version < 0 || version > kSchemaVersion) {
    return fail(ErrorCode::conflict, "the store has version " + std::to_string(version) +
                                         ", this program knows up to " +
                                         std::to_string(kSchemaVersion) +
                                         "; use the newer program, or another data folder");
  }
  std::string script = "BEGIN;";
  if (version == 0) {
    script += kSchema;
  } else {
    for (std::int64_t from = version; from < kSchemaVersion; ++from) {
      script += kSchemaSteps[static_cast<std::size_t>(from - 1)];
    }
  }
  script += "PRAGMA user_version=" + std::to_string(kSchemaVersion) + ";COMMIT;";
  return connection.execute(script.c_str());
}

/// Synchronous=NORMAL: checkpoints are synced, transactions are not. A cache of 8 MiB, no larger: a
/// commit that has balanced a tree looks through all of it, and the system has the pages as well.
constexpr const char* kPragmas =
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY;"
    "PRAGMA cache_size=-8192; PRAGMA journal_size_limit=67108864";

Result<void> set_up(Connection& connection, const std::filesystem::path& folder) {
  connection.set_log_moves_at_close(false);
  const Result<std::int64_t> version = connection.query_integer("PRAGMA user_version");
  if (!version) return std::unexpected(version.error());
  if (*version == 0) {
    if (Result<void> kept = check_no_tables_lost(folder); !kept) return kept;
  }
  if (Result<void> done = connection.execute(kPragmas); !done) return done;
  return prepare_schema(connection, *version);
}

/// SQLite calls this after each commit. Its presence turns the checkpoints inside of commits off.
int note_log_pages(void* pages, sqlite3* /*connection*/, const char* /*schema*/, int count) {
  *static_cast<std::size_t*>(pages) = static_cast<std::size_t>(count);
  return SQLITE_OK;
}

}  // namespace

struct Tables::Impl {
  Connection connection;
  std::array<Statement, kSql.size()> statements;
  std::size_t log_pages = 0;
  int failure = 0;                    // the first error of the transaction; 0: none
  std::int64_t idempotency_seen = 0;  // sequence: at the last look none up to it was to go

  Statement& sql(Sql which) { return statements[static_cast<std::size_t>(which)]; }

  /// Runs a bound statement of the transaction, unless an earlier one failed.
  void run(Statement& statement) {
    if (failure != 0) return;
    const int code = statement.run();
    if (code != kSqliteDone) failure = code;
  }
  void run_for(Sql which, std::int64_t sequence) { run(sql(which).bind(1, sequence)); }

  /// Inserts a row by a bound OR FAIL. One of this sequence that is there is removed first, which it
  /// hardly ever is: OR REPLACE would have SQLite keep, of every page, what it was before the
  /// statement, a quarter of all that the writing thread does.
  void put(Statement& row, Sql remove, std::int64_t sequence) {
    if (failure != 0) return;
    int code = row.run();
    if ((code & 0xff) == SQLITE_CONSTRAINT) {
      run_for(remove, sequence);
      code = row.run();
    }
    if (failure == 0 && code != kSqliteDone) failure = code;
  }

  void write_names(const Pending& pending);
  void write_task(const PendingTask& task);
  void remove(const PendingTask& task);
  void insert(const PendingTask& task);
  void change(const PendingTask& task);
  void write_history(const PendingTask& task);
  void write_idempotency(const Pending& pending);
  void forget_idempotency(const RemoveIdempotency& removed);
  struct Forgotten {
    bool any = false;
    std::int64_t end = 0;  // sequence: the last one that was looked at; 0: there are none
  };
  Forgotten forget_idempotency_after(std::int64_t begin, const RemoveIdempotency& removed);
  std::int64_t end_of_idempotency(std::int64_t begin, std::uint64_t count);

  void end_transaction() {
    // After some errors SQLite has rolled back by itself. If ROLLBACK itself fails, the next BEGIN
    // says so.
    if (!connection.is_autocommit()) static_cast<void>(connection.execute("ROLLBACK"));
    failure = 0;
  }
};

Tables::Tables(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tables::~Tables() = default;

Result<std::unique_ptr<Tables>> Tables::open(const std::filesystem::path& file) {
  Result<Connection> connection = Connection::open(file, Connection::Mode::read_write);
  if (!connection) return fail(std::move(connection));
  auto impl = std::make_unique<Impl>();
  impl->connection = *std::move(connection);
  if (Result<void> done = set_up(impl->connection, file.parent_path()); !done)
    return fail(std::move(done));
  Result<void> prepared = impl->connection.prepare(kSql, impl->statements);
  if (!prepared) return fail(std::move(prepared));
  sqlite3_wal_hook(impl->connection.handle(), note_log_pages, &impl->log_pages);
  return std::unique_ptr<Tables>(new Tables(std::move(impl)));
}

std::size_t Tables::log_pages() const { return impl_->log_pages; }

std::size_t Tables::cache_bytes() const { return impl_->connection.cache_bytes(); }

Result<bool> Tables::checkpoint() { return impl_->connection.checkpoint(); }

Result<void> Tables::settle() {
  if (const int code = impl_->connection.empty_log(); code != 0) {
    return std::unexpected(write_error(code));
  }
  impl_->connection.set_log_moves_at_close(true);
  return {};
}

// ---- writing

Result<void> Tables::apply(const Pending& pending, std::uint64_t number) {
  Impl& impl = *impl_;
  impl.run(impl.sql(Sql::begin));
  impl.write_names(pending);
  std::size_t written = 0;
  for (const PendingTask* task : in_order(pending)) {
    impl.write_task(*task);
    if (++written % kTasksPerTurn == 0) std::this_thread::yield();
  }
  impl.write_idempotency(pending);
  if (pending.lease_tokens()) {
    impl.run(impl.sql(Sql::reserve_tokens).bind(1, *pending.lease_tokens()));
  }
  impl.run(impl.sql(Sql::set_applied).bind(1, number));
  // Without their one row the next start would not know what of the redo log they have.
  const bool is_noted = sqlite3_changes(impl.connection.handle()) == 1;
  if (impl.failure == 0 && !is_noted) impl.failure = SQLITE_CORRUPT;
  impl.run(impl.sql(Sql::commit));
  const int failure = impl.failure;
  impl.end_transaction();
  if (failure != 0) return std::unexpected(write_error(failure));
  return {};
}

void Tables::Impl::write_names(const Pending& pending) {
  for (const InsertKey& key : pending.keys()) {
    run(sql(Sql::insert_key).bind(1, static_cast<std::int64_t>(key.index)).bind(2, key.name));
  }
  for (const InsertModel& model : pending.models()) {
    run(sql(Sql::insert_model).bind(1, static_cast<std::int64_t>(model.index)).bind(2, model.name));
  }
  for (const SetPaused& pause : pending.pauses()) {
    Statement& statement = sql(Sql::set_paused).bind(1, static_cast<std::int64_t>(pause.model));
    run(statement.bind(2, std::int64_t{pause.paused}));
  }
}

void Tables::Impl::write_task(const PendingTask& task) {
  if (task.is_removed) return remove(task);
  if (task.stored == PendingTask::Stored::no) {
    insert(task);
  } else {
    change(task);
  }
  write_history(task);
}

void Tables::Impl::remove(const PendingTask& task) {
  const std::int64_t sequence = task.sequence;
  if (task.stored == PendingTask::Stored::no) return;
  run_for(task.stored == PendingTask::Stored::live ? Sql::delete_task : Sql::delete_ended,
          sequence);
  run_for(Sql::delete_input, sequence);
  run_for(Sql::delete_attempts, sequence);
  run_for(Sql::delete_logs, sequence);
}

void Tables::Impl::insert(const PendingTask& task) {
  const std::int64_t sequence = task.sequence;
  const bool is_apart = task.input.size() > kInlineInputBytesMax;
  const auto bind_body = [&](Statement& statement, int parameter) {
    if (is_apart) {
      statement.bind_null(parameter);
    } else {
      statement.bind_blob(parameter, task.input);
    }
  };
  if (task.end) {
    Statement& statement = bind_ended(sql(Sql::insert_ended), *task.end);
    bind_body(statement, 20);
    put(statement, Sql::delete_ended, sequence);
  } else {
    QUERN_ASSERT(task.row);
    Statement& statement = bind_live(sql(Sql::insert_task), *task.row, task.started);
    bind_body(statement, 14);
    put(statement, Sql::delete_task, sequence);
  }
  if (is_apart) {
    Statement& statement = sql(Sql::insert_input).bind(1, sequence).bind_blob(2, task.input);
    put(statement, Sql::delete_input, sequence);
  }
}

void Tables::Impl::change(const PendingTask& task) {
  const std::int64_t sequence = task.sequence;
  const bool was_ended = task.stored == PendingTask::Stored::ended;
  if (was_ended) {
    // Revived, so that the attempt that it had ended with is one of the earlier ones.
    const TaskRow& row = task.end ? task.end->row : *task.row;
    put(bind_live(sql(Sql::revive_task), row, task.started), Sql::delete_task, sequence);
    run_for(Sql::keep_last_attempt, sequence);
    run_for(Sql::delete_ended, sequence);
  }
  if (task.end) {
    put(bind_ended(sql(Sql::end_task), *task.end), Sql::delete_ended, sequence);
    run_for(Sql::delete_task, sequence);
  } else if (task.row && !was_ended) {
    const TaskRow& row = *task.row;
    Statement& statement = sql(Sql::update_task);
    statement.bind(1, sequence).bind(2, static_cast<std::int64_t>(row.state));
    statement.bind(3, flags_of(row)).bind(4, std::int64_t{row.attempts_started}).bind(5, row.rank);
    statement.bind(6, row.lease_token);
    bind_time(statement, 7, row.start_deadline);
    bind_time(statement, 8, row.not_before);
    bind_time(statement, 9, task.started);
    run(statement);
  }
}

void Tables::Impl::write_history(const PendingTask& task) {
  const std::int64_t sequence = task.sequence;
  const PendingHistory& history = task.history == nullptr ? kNoHistory : *task.history;
  for (const AttemptRecord& attempt : history.attempts) {
    Statement& statement = sql(Sql::insert_attempt);
    statement.bind(1, sequence).bind(2, attempt.token).bind(3, std::int64_t{attempt.number});
    statement.bind(4, stored_time(attempt.started)).bind(5, stored_time(attempt.ended));
    statement.bind(6, attempt.result).bind(7, attempt.reason);
    statement.bind(8, std::int64_t{attempt.retried});
    bind_time(statement, 9, attempt.retry_at);
    run(statement);
  }
  if (!history.attempts.empty() || task.stored == PendingTask::Stored::ended) {
    run(sql(Sql::drop_attempts).bind(1, sequence).bind(2, std::uint64_t{kStoredAttemptsMax}));
  }
  if (history.first_log > 0) {
    run(sql(Sql::drop_logs).bind(1, sequence).bind(2, history.first_log));
  }
  for (const InsertLog& line : history.logs) {
    Statement& statement = sql(Sql::insert_log);
    statement.bind(1, sequence).bind(2, line.number).bind(3, stored_time(line.time));
    statement.bind(4, static_cast<std::int64_t>(line.severity));
    statement.bind(5, std::int64_t{line.from_quern}).bind(6, line.message);
    run(statement);
  }
}

/// The first that were made are the oldest, but for those of a clock that was ahead: then it goes on
/// from where it found some the last time, once around. Whoever asks knows that there are some.
void Tables::Impl::forget_idempotency(const RemoveIdempotency& removed) {
  if (forget_idempotency_after(0, removed).any) return;
  for (int ends = 0; ends < 2;) {
    const Forgotten forgotten = forget_idempotency_after(idempotency_seen, removed);
    if (forgotten.any || failure != 0) return;
    idempotency_seen = forgotten.end;
    if (idempotency_seen == 0) ++ends;
  }
}

/// Looks at as many as `removed` says, the first behind `begin`.
Tables::Impl::Forgotten Tables::Impl::forget_idempotency_after(std::int64_t begin,
                                                               const RemoveIdempotency& removed) {
  Forgotten forgotten;
  for (std::uint64_t left = removed.count_max; left > 0 && failure == 0;) {
    const std::uint64_t count = std::min(left, kRecordsPerTurn);
    const std::int64_t end = end_of_idempotency(begin, count);
    if (end == 0) break;
    run(sql(Sql::delete_idempotency)
            .bind(1, begin)
            .bind(2, end)
            .bind(3, stored_time(removed.created_before)));
    forgotten.any = forgotten.any || (failure == 0 && sqlite3_changes(connection.handle()) > 0);
    forgotten.end = begin = end;
    left -= count;
    std::this_thread::yield();
  }
  return forgotten;
}

/// The last of `count` records behind `begin`; 0: there are none, or they cannot be read.
std::int64_t Tables::Impl::end_of_idempotency(std::int64_t begin, std::uint64_t count) {
  Statement& query = sql(Sql::end_of_idempotency);
  const StatementReset reset(query);
  const int code = query.bind(1, begin).bind(2, count).step();
  if (code != kSqliteRow) failure = code;
  return code != kSqliteRow || query.is_null(0) ? 0 : query.integer(0);
}

void Tables::Impl::write_idempotency(const Pending& pending) {
  if (const auto& removed = pending.removed_idempotency()) forget_idempotency(*removed);
  for (const auto& [name, change] : pending.idempotency()) {
    const IdempotencyRecord& record = change.record;
    const auto* bytes = reinterpret_cast<const char*>(record.fingerprint.data());
    Statement& statement = sql(Sql::insert_idempotency);
    statement.bind(1, record.id.sequence()).bind(2, chance_of(record.id));
    statement.bind(3, static_cast<std::int64_t>(change.key)).bind(4, change.name);
    statement.bind_blob(5, {bytes, record.fingerprint.size()});
    run(statement.bind(6, stored_time(record.created)));
  }
}

}  // namespace quern
