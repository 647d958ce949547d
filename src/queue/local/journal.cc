#include "queue/local/journal.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/assert.h"
#include "queue/local/log_reserve.h"
#include "queue/local/output_json.h"
#include "queue/local/row_codec.h"
#include "queue/local/schema.h"
#include "queue/local/sqlite.h"

namespace quern {
namespace {

constexpr std::string_view kWriting = "the store cannot be written";
constexpr std::string_view kReading = "the store cannot be read";

/// Every statement of the writing side, prepared once.
enum class Sql : std::uint8_t {
  begin,
  commit,
  insert_key,
  insert_model,
  set_paused,
  insert_task,
  insert_input,
  update_task,
  delete_task,
  revive_task,
  insert_ended,
  delete_ended,
  keep_last_attempt,
  insert_attempt,
  insert_log,
  drop_logs,
  insert_idempotency,
  delete_input,
  delete_attempts,
  delete_logs,
  delete_idempotency,
  probe,
  reserve_tokens,
  find_idempotency,
  find_input,
  scan_inputs,
  hold,
  find_ended,
  find_logs,
  find_expired,
  oldest_ended,
  oldest_idempotency,
  count,
};

constexpr auto kSql =
    std::to_array<std::string_view>({
        "BEGIN IMMEDIATE",
        "COMMIT",
        "INSERT INTO key_name (id, name) VALUES (?, ?)",
        "INSERT INTO model_name (id, name) VALUES (?, ?)",
        "UPDATE model_name SET paused = ?2 WHERE id = ?1",
        "INSERT INTO task (" QUERN_LIVE_COLUMNS ", body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)",
        "INSERT INTO input (seq, body) VALUES (?, ?)",
        "UPDATE task SET state = ?2, flags = ?3, attempts = ?4, rank = ?5, token = ?6,"
        " start_deadline = ?7, not_before = ?8, started = ?9 WHERE seq = ?1",
        "DELETE FROM task WHERE seq = ?",
        "INSERT INTO task (" QUERN_LIVE_COLUMNS
        ", body) VALUES (?1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL,"
        " (SELECT body FROM ended WHERE seq = ?1))",
        "INSERT INTO ended (" QUERN_ENDED_COLUMNS
        ", last_token, body) VALUES (?1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
        " (SELECT body FROM task WHERE seq = ?1))",
        "DELETE FROM ended WHERE seq = ?",
        "INSERT INTO attempt (seq, token, number, started, ended, result, reason, retried)"
        " SELECT seq, last_token, last_number, last_started, ended, last_result, last_reason, 0"
        " FROM ended WHERE seq = ? AND last_token IS NOT NULL",
        "INSERT INTO attempt (seq, token, number, started, ended, result, reason, retried,"
        " retry_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        "INSERT OR REPLACE INTO log (seq, " QUERN_LOG_COLUMNS ") VALUES (?, ?, ?, ?, ?, ?)",
        "DELETE FROM log WHERE seq = ? AND number < ?",
        "INSERT OR REPLACE INTO idempotency (seq, chance, key, name, fingerprint, created)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        "DELETE FROM input WHERE seq = ?",
        "DELETE FROM attempt WHERE seq = ?",
        "DELETE FROM log WHERE seq = ?",
        "DELETE FROM idempotency WHERE created < ?1 AND"
        " seq IN (SELECT seq FROM idempotency ORDER BY seq LIMIT ?2)",
        "UPDATE store SET probes = probes + 1",
        "UPDATE store SET lease_tokens = ?",
        "SELECT seq, chance, fingerprint, created FROM idempotency WHERE key = ? AND name = ?",
        "SELECT coalesce((SELECT body FROM task WHERE seq = ?1), (SELECT body FROM input WHERE seq "
        "= ?1))",
        "SELECT seq, body FROM task WHERE seq >= ? ORDER BY seq",
        "SELECT id FROM store",
        "SELECT " QUERN_ENDED_COLUMNS " FROM ended WHERE seq = ?",
        "SELECT " QUERN_LOG_COLUMNS " FROM log WHERE seq = ? ORDER BY number",
        "SELECT seq, chance, outputs FROM ended WHERE ended < ? ORDER BY ended LIMIT ?",
        "SELECT ended FROM ended ORDER BY ended LIMIT 1",
        "SELECT created FROM idempotency ORDER BY seq LIMIT 1",
    });
static_assert(kSql.size() == static_cast<std::size_t>(Sql::count));

Error read_error(int code) { return sqlite_error(code, kReading); }

/// All of QUERN_LIVE_COLUMNS but `started`: no attempt runs.
Statement& bind_live(Statement& sql, const TaskRow& row) {
  sql.bind(1, row.id.sequence()).bind(2, chance_of(row.id));
  sql.bind(3, static_cast<std::int64_t>(row.key)).bind(4, static_cast<std::int64_t>(row.model));
  sql.bind(5, static_cast<std::int64_t>(row.state)).bind(6, flags_of(row));
  sql.bind(7, std::int64_t{row.attempts_started}).bind(8, row.rank).bind(9, row.lease_token);
  sql.bind(10, stored_time(row.submitted));
  bind_time(sql, 11, row.start_deadline);
  bind_time(sql, 12, row.not_before);
  return sql;
}

Result<std::optional<WallTime>> read_first_time(Statement& query) {
  const StatementReset reset(query);
  const int code = query.step();
  if (code == kSqliteDone) return std::nullopt;
  if (code != kSqliteRow) return std::unexpected(read_error(code));
  return wall_time(query.integer(0));
}

/// Goes along the live tasks and reads the inputs that are in their rows.
class InputScan {
 public:
  explicit InputScan(Statement& scan) : scan_(scan), reset_(scan) {}

  /// Sequences ascend from call to call. Nothing: its input is not in its row, or cannot be read.
  std::optional<std::string> find(std::int64_t sequence) {
    if (step_to(sequence)) {
      patience_ = kGapRowsMax;
    } else {
      scan_.reset();
      scan_.bind(1, sequence);
      step();
      patience_ = std::max(1, patience_ / 2);
    }
    if (at_ != sequence || scan_.is_null(1)) return std::nullopt;
    return std::string(scan_.text(1));
  }

 private:
  /// Stepping over so many rows takes as long as a search.
  static constexpr int kGapRowsMax = 4;
  static constexpr std::int64_t kNowhere = -1;

  void step() { at_ = scan_.step() == kSqliteRow ? scan_.integer(0) : kNowhere; }
  bool step_to(std::int64_t sequence) {
    for (int rows = 0; rows < patience_ && at_ != kNowhere && at_ < sequence; ++rows) step();
    return at_ >= sequence;
  }

  Statement& scan_;
  StatementReset reset_;
  std::int64_t at_ = kNowhere;  // the sequence of the row it stands on
  int patience_ = kGapRowsMax;  // rows to step over; fewer where that was in vain
};

/// Creates the tables of an empty file, or brings those of an older version up to date; refuses a
/// file of a newer one.
Result<void> prepare_schema(Connection& connection) {
  const Result<std::int64_t> version = connection.query_integer("PRAGMA user_version");
  if (!version) return std::unexpected(version.error());
  if (*version == kSchemaVersion) return {};
  if (*version < 0 || *version > kSchemaVersion) {
    return fail(ErrorCode::invalid_argument, "the store has version " + std::to_string(*version) +
                                                 ", this program knows up to " +
                                                 std::to_string(kSchemaVersion) +
                                                 "; use the newer program, or another data folder");
  }
  std::string script = "BEGIN;";
  if (*version == 0) script += kSchema;
  if (*version == 1) script += kSchemaFrom1;
  if (*version == 1 || *version == 2) script += kSchemaFrom2;
  script += "PRAGMA user_version=" + std::to_string(kSchemaVersion) + ";COMMIT;";
  return connection.execute(script.c_str());
}

/// A cache of 8 MiB, no larger: a commit that has balanced a tree looks through all of it, and the
/// system has the pages as well.
constexpr const char* kPragmas =
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;"
    "PRAGMA cache_size=-8192; PRAGMA journal_size_limit=67108864";

Result<void> set_up(Connection& connection) {
  if (Result<void> done = connection.execute(kPragmas); !done) return done;
  return prepare_schema(connection);
}

/// SQLite calls this after each commit. Its presence turns the checkpoints inside of commits off.
int note_log_pages(void* pages, sqlite3* /*connection*/, const char* /*schema*/, int count) {
  *static_cast<std::size_t*>(pages) = static_cast<std::size_t>(count);
  return SQLITE_OK;
}

}  // namespace

struct Journal::Impl {
  Connection connection;
  std::array<Statement, kSql.size()> statements;
  std::size_t log_pages = 0;
  std::size_t page_bytes = 0;
  LogReserve reserve;
  bool open = false;     // inside a transaction
  bool settled = false;  // see settle_log()
  int failure = 0;       // the first error of the transaction; 0: none

  Statement& sql(Sql which) { return statements[static_cast<std::size_t>(which)]; }

  Result<void> prepare() {
    for (std::size_t i = 0; i < kSql.size(); ++i) {
      Result<Statement> statement = connection.prepare(kSql[i]);
      if (!statement) return fail(std::move(statement));
      statements[i] = *std::move(statement);
    }
    return {};
  }

  /// Runs a bound statement of the transaction, unless an earlier one failed.
  void run(Statement& statement) {
    QUERN_ASSERT(open);
    if (failure != 0) return;
    const int code = statement.run();
    if (code != kSqliteDone) failure = code;
  }

  /// Before the first transaction: what an earlier run left in the log moves into the database.
  ///
  /// It may be in the machine's memory only: once a sync has failed, the system takes pages for
  /// written that never reached the disk, and a power cut would take every commit behind them with
  /// them. The copy in the database is synced anew.
  int settle_log() {
    if (settled) return 0;
    const int code = connection.empty_log();
    settled = code == 0;
    return code;
  }

  /// After a commit that failed: it may stand in the log all the same, whole but for the sync, and a
  /// crash would bring back what its callers were told did not happen. The next transaction takes its
  /// place there, so here is one that changes nothing of worth. If it fails too, the next probe is
  /// the next.
  void cover_failed_commit() {
    for (const Sql step : {Sql::begin, Sql::probe, Sql::commit}) {
      if (sql(step).run() != kSqliteDone) break;
    }
    end_transaction();
  }

  void run_for(Sql which, const TaskId& id) { run(sql(which).bind(1, id.sequence())); }

  void end_transaction() {
    // After some errors SQLite has rolled back by itself. If ROLLBACK itself fails, the next BEGIN
    // says so.
    if (!connection.is_autocommit()) static_cast<void>(connection.execute("ROLLBACK"));
    open = false;
    failure = 0;
  }
};

Journal::Journal(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Journal::~Journal() = default;

Result<std::unique_ptr<Journal>> Journal::open(const JournalOptions& options) {
  Result<Connection> connection = Connection::open(options.file, Connection::Mode::read_write);
  if (!connection) return fail(std::move(connection));
  auto impl = std::make_unique<Impl>();
  impl->connection = *std::move(connection);
  if (Result<void> done = set_up(impl->connection); !done) return fail(std::move(done));
  if (Result<void> done = impl->prepare(); !done) return fail(std::move(done));
  const Result<std::int64_t> page_bytes = impl->connection.query_integer("PRAGMA page_size");
  if (!page_bytes) return std::unexpected(page_bytes.error());
  impl->page_bytes = static_cast<std::size_t>(*page_bytes);
  // A disk that is full or failing now is no reason not to serve what can be read: begin() insists.
  static_cast<void>(impl->settle_log());
  sqlite3_wal_hook(impl->connection.handle(), note_log_pages, &impl->log_pages);
  std::unique_ptr<Journal> journal(new Journal(std::move(impl)));
  if (options.pages_max > 0) {
    if (Result<void> done = journal->set_pages_max(options.pages_max); !done) {
      return fail(std::move(done));
    }
  }
  return journal;
}

std::size_t Journal::log_pages() const { return impl_->log_pages; }

std::size_t Journal::cache_bytes() const { return impl_->connection.cache_bytes(); }

Result<void> Journal::checkpoint() {
  if (Result<std::size_t> done = impl_->connection.checkpoint(); !done)
    return fail(std::move(done));
  return {};
}

Result<void> Journal::set_pages_max(std::int64_t pages) {
  constexpr std::int64_t kNoLimit = 4'294'967'294;
  const std::string pragma =
      "PRAGMA max_page_count=" + std::to_string(pages == 0 ? kNoLimit : pages);
  return impl_->connection.execute(pragma.c_str());
}

// ---- recovery
// ------------------------------------------------------------------------------------

Result<std::vector<std::string>> Journal::key_names() {
  Result<Statement> query = impl_->connection.prepare("SELECT name FROM key_name ORDER BY id");
  if (!query) return fail(std::move(query));
  return read_all<std::string>(*query, [](Statement& row) { return std::string(row.text(0)); });
}

Result<std::vector<StoredModel>> Journal::model_names() {
  Result<Statement> query =
      impl_->connection.prepare("SELECT name, paused FROM model_name ORDER BY id");
  if (!query) return fail(std::move(query));
  return read_all<StoredModel>(*query, [](Statement& row) {
    return StoredModel{std::string(row.text(0)), row.integer(1) != 0};
  });
}

Result<std::int64_t> Journal::last_sequence() {
  return impl_->connection.query_integer(
      "SELECT max(coalesce((SELECT max(seq) FROM task), 0), coalesce((SELECT max(seq) FROM ended), "
      "0),"
      " coalesce((SELECT max(seq) FROM idempotency), 0))");
}

Result<std::uint64_t> Journal::reserved_lease_tokens() {
  const Result<std::int64_t> token =
      impl_->connection.query_integer("SELECT lease_tokens FROM store");
  if (!token) return std::unexpected(token.error());
  return static_cast<std::uint64_t>(*token);
}

Result<void> Journal::for_each_live(const LiveRow& row) {
  Result<Statement> query =
      impl_->connection.prepare("SELECT " QUERN_LIVE_COLUMNS " FROM task ORDER BY seq");
  if (!query) return fail(std::move(query));
  for (;;) {
    const int code = query->step();
    if (code == kSqliteDone) return {};
    if (code != kSqliteRow) return std::unexpected(read_error(code));
    row(read_live(*query), time_of(*query, 12));
  }
}

// ---- one transaction
// -----------------------------------------------------------------------------

void Journal::begin() {
  QUERN_ASSERT(!impl_->open);
  impl_->open = true;
  impl_->failure = impl_->settle_log();
  impl_->run(impl_->sql(Sql::begin));
}

void Journal::insert_key(KeyIndex index, std::string_view name) {
  impl_->run(impl_->sql(Sql::insert_key).bind(1, static_cast<std::int64_t>(index)).bind(2, name));
}

void Journal::insert_model(ModelIndex index, std::string_view name) {
  impl_->run(impl_->sql(Sql::insert_model).bind(1, static_cast<std::int64_t>(index)).bind(2, name));
}

void Journal::set_paused(ModelIndex index, bool paused) {
  Statement& sql = impl_->sql(Sql::set_paused);
  impl_->run(sql.bind(1, static_cast<std::int64_t>(index)).bind(2, std::int64_t{paused}));
}

void Journal::insert_task(const TaskRow& row, std::string_view input) {
  Statement& sql = bind_live(impl_->sql(Sql::insert_task), row);
  const bool is_apart = input.size() > kInlineInputBytesMax;
  if (is_apart) {
    sql.bind_null(13);
  } else {
    sql.bind_blob(13, input);
  }
  impl_->run(sql);
  if (!is_apart) return;
  impl_->run(impl_->sql(Sql::insert_input).bind(1, row.id.sequence()).bind_blob(2, input));
}

void Journal::update_task(const TaskRow& row, std::optional<WallTime> started) {
  Statement& sql = impl_->sql(Sql::update_task);
  sql.bind(1, row.id.sequence()).bind(2, static_cast<std::int64_t>(row.state));
  sql.bind(3, flags_of(row)).bind(4, std::int64_t{row.attempts_started}).bind(5, row.rank);
  sql.bind(6, row.lease_token);
  bind_time(sql, 7, row.start_deadline);
  bind_time(sql, 8, row.not_before);
  bind_time(sql, 9, started);
  impl_->run(sql);
}

void Journal::end_task(const TaskRow& row, const TaskResult& result, std::string_view outputs,
                       const AttemptRecord* last) {
  Statement& sql = impl_->sql(Sql::insert_ended);
  sql.bind(1, row.id.sequence()).bind(2, chance_of(row.id));
  sql.bind(3, static_cast<std::int64_t>(row.key)).bind(4, static_cast<std::int64_t>(row.model));
  sql.bind(5, static_cast<std::int64_t>(row.state)).bind(6, flags_of(row));
  sql.bind(7, std::int64_t{row.attempts_started}).bind(8, stored_time(row.submitted));
  sql.bind(9, stored_time(row.ended.value_or(row.submitted)));
  sql.bind(10, std::int64_t{result.run_time.count()});
  sql.bind(11, static_cast<std::int64_t>(row.error_type)).bind(12, result.error);
  sql.bind(13, result.metadata_json).bind(14, outputs);
  if (last != nullptr) {
    sql.bind(15, std::int64_t{last->number}).bind(16, stored_time(last->started));
    sql.bind(17, last->result).bind(18, last->reason).bind(19, last->token);
  } else {
    for (int parameter = 15; parameter <= 19; ++parameter) sql.bind_null(parameter);
  }
  impl_->run(sql);
  impl_->run_for(Sql::delete_task, row.id);
}

void Journal::revive_task(const TaskRow& row) {
  impl_->run(bind_live(impl_->sql(Sql::revive_task), row));
  impl_->run_for(Sql::keep_last_attempt, row.id);
  impl_->run_for(Sql::delete_ended, row.id);
}

void Journal::insert_attempt(const AttemptRecord& attempt) {
  Statement& sql = impl_->sql(Sql::insert_attempt);
  sql.bind(1, attempt.sequence).bind(2, attempt.token).bind(3, std::int64_t{attempt.number});
  sql.bind(4, stored_time(attempt.started)).bind(5, stored_time(attempt.ended));
  sql.bind(6, attempt.result).bind(7, attempt.reason).bind(8, std::int64_t{attempt.retried});
  bind_time(sql, 9, attempt.retry_at);
  impl_->run(sql);
}

void Journal::insert_log(const TaskId& id, std::uint64_t number, const LogEntry& entry) {
  Statement& sql = impl_->sql(Sql::insert_log);
  sql.bind(1, id.sequence()).bind(2, number).bind(3, stored_time(entry.time));
  sql.bind(4, static_cast<std::int64_t>(entry.severity)).bind(5, std::int64_t{entry.from_quern});
  sql.bind(6, std::string_view(entry.message));
  impl_->run(sql);
}

void Journal::drop_logs(const TaskId& id, std::uint64_t first_kept) {
  impl_->run(impl_->sql(Sql::drop_logs).bind(1, id.sequence()).bind(2, first_kept));
}

void Journal::insert_idempotency(KeyIndex key, std::string_view name,
                                 const IdempotencyRecord& record) {
  const auto* bytes = reinterpret_cast<const char*>(record.fingerprint.data());
  Statement& sql = impl_->sql(Sql::insert_idempotency);
  sql.bind(1, record.id.sequence()).bind(2, chance_of(record.id));
  sql.bind(3, static_cast<std::int64_t>(key)).bind(4, name);
  sql.bind_blob(5, {bytes, record.fingerprint.size()}).bind(6, stored_time(record.created));
  impl_->run(sql);
}

void Journal::remove_ended(const TaskId& id) {
  impl_->run_for(Sql::delete_ended, id);
  impl_->run_for(Sql::delete_input, id);
  impl_->run_for(Sql::delete_attempts, id);
  impl_->run_for(Sql::delete_logs, id);
}

void Journal::remove_idempotency(WallTime created_before, std::size_t count_max) {
  Statement& sql = impl_->sql(Sql::delete_idempotency);
  impl_->run(sql.bind(1, stored_time(created_before)).bind(2, std::uint64_t{count_max}));
}

void Journal::reserve_lease_tokens(std::uint64_t up_to) {
  impl_->run(impl_->sql(Sql::reserve_tokens).bind(1, up_to));
}

void Journal::write_probe() { impl_->run(impl_->sql(Sql::probe)); }

Result<void> Journal::commit() {
  const bool begun = impl_->failure == 0;
  impl_->run(impl_->sql(Sql::commit));
  const int failure = impl_->failure;
  impl_->end_transaction();
  if (failure == 0) {
    impl_->reserve.after_commit(impl_->connection.handle(), impl_->log_pages, impl_->page_bytes);
    return {};
  }
  if (begun) impl_->cover_failed_commit();
  return std::unexpected(sqlite_error(failure, kWriting));
}

void Journal::rollback() { impl_->end_transaction(); }

// ---- reading in between
// --------------------------------------------------------------------------

Result<std::optional<IdempotencyRecord>> Journal::find_idempotency(KeyIndex key,
                                                                   std::string_view name) {
  Statement& sql = impl_->sql(Sql::find_idempotency);
  const StatementReset reset(sql);
  const int code = sql.bind(1, static_cast<std::int64_t>(key)).bind(2, name).step();
  if (code == kSqliteDone) return std::nullopt;
  if (code != kSqliteRow) return std::unexpected(read_error(code));
  IdempotencyRecord record;
  record.id = make_task_id(sql.integer(0), sql.integer(1));
  const std::string_view bytes = sql.text(2);
  if (bytes.size() != record.fingerprint.size()) {
    return fail(ErrorCode::data_loss, "a stored idempotency record is damaged");
  }
  std::copy(bytes.begin(), bytes.end(), record.fingerprint.begin());
  record.created = wall_time(sql.integer(3));
  return record;
}

Result<std::string> Journal::input(const TaskId& id) {
  Statement& sql = impl_->sql(Sql::find_input);
  const StatementReset reset(sql);
  const int code = sql.bind(1, id.sequence()).step();
  if (code != kSqliteRow) return std::unexpected(read_error(code));
  if (sql.is_null(0)) return fail(ErrorCode::not_found, "the task's input is not stored");
  return std::string(sql.text(0));
}

std::vector<Result<std::string>> Journal::inputs(std::span<const TaskId> ids) {
  if (ids.size() == 1) return {input(ids.front())};
  std::vector<std::pair<std::int64_t, std::size_t>> order;  // sequences, and their places in `ids`
  order.reserve(ids.size());
  for (const TaskId& id : ids) order.emplace_back(id.sequence(), order.size());
  std::ranges::sort(order);
  // One read transaction for all of it.
  Statement& hold = impl_->sql(Sql::hold);
  const StatementReset released(hold);
  static_cast<void>(hold.step());

  std::vector<Result<std::string>> inputs(ids.size());
  InputScan scan(impl_->sql(Sql::scan_inputs));
  for (const auto& [sequence, place] : order) {
    if (std::optional<std::string> body = scan.find(sequence)) {
      inputs[place] = *std::move(body);
    } else {
      inputs[place] = input(ids[place]);
    }
  }
  return inputs;
}

Result<std::optional<EndedTask>> Journal::find_ended(const TaskId& id) {
  Statement& sql = impl_->sql(Sql::find_ended);
  const StatementReset reset(sql);
  const int code = sql.bind(1, id.sequence()).step();
  if (code == kSqliteDone) return std::nullopt;
  if (code != kSqliteRow) return std::unexpected(read_error(code));
  Result<EndedTask> task = read_ended(sql);
  if (!task) return fail(std::move(task));
  if (task->row.id != id) return std::nullopt;
  return *std::move(task);
}

Result<std::vector<NumberedLog>> Journal::logs(const TaskId& id) {
  Statement& sql = impl_->sql(Sql::find_logs);
  return read_all<NumberedLog>(sql.bind(1, id.sequence()), read_log);
}

Result<std::vector<ExpiredTask>> Journal::expired(WallTime ended_before, std::size_t count_max) {
  Statement& sql = impl_->sql(Sql::find_expired);
  sql.bind(1, stored_time(ended_before)).bind(2, std::uint64_t{count_max});
  return read_all<ExpiredTask>(sql, [](Statement& row) {
    // Outputs that cannot be read name no files to remove; the task expires all the same.
    Result<std::vector<Output>> outputs = decode_outputs(row.text(2));
    return ExpiredTask{make_task_id(row.integer(0), row.integer(1)),
                       outputs ? *std::move(outputs) : std::vector<Output>{}};
  });
}

Result<std::optional<WallTime>> Journal::oldest_ended() {
  return read_first_time(impl_->sql(Sql::oldest_ended));
}

Result<std::optional<WallTime>> Journal::oldest_idempotency() {
  return read_first_time(impl_->sql(Sql::oldest_idempotency));
}

}  // namespace quern
