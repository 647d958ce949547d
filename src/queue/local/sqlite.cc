#include "queue/local/sqlite.h"

#include <sqlite3.h>

#include "queue/local/paced_writes.h"

namespace quern {

static_assert(kSqliteRow == SQLITE_ROW && kSqliteDone == SQLITE_DONE);

namespace {

ErrorCode code_of(int code) {
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ErrorCode::data_loss;
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_READONLY:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_NOMEM:
    case SQLITE_NOLFS:
    case SQLITE_PROTOCOL:
    case SQLITE_INTERRUPT:
    case SQLITE_TOOBIG:
      return ErrorCode::unavailable;
    default:
      return ErrorCode::internal;
  }
}

// Before the first connection.
bool configure_sqlite() {
  // Nobody asks how much memory SQLite uses in all, and counting takes a lock at each allocation.
  sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  hook_paced_writes();
  return true;
}

const char* meaning_of(int code) {
  switch (code & 0xff) {
    case SQLITE_FULL:
      return "the disk is full";
    case SQLITE_READONLY:
      return "the store is read-only";
    default:
      return sqlite3_errstr(code);
  }
}

}  // namespace

Error sqlite_error(int code, std::string_view doing) {
  const ErrorCode ours = code_of(code);
  std::string message{doing};
  message += ": ";
  message += meaning_of(code);
  message += " (SQLite code " + std::to_string(code) + ")";
  using std::chrono::milliseconds;
  return {ours, std::move(message), milliseconds{ours == ErrorCode::unavailable ? 1'000 : 0}};
}

// ---- Statement

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

// Binding fails only for a wrong parameter number or while a statement runs; step() reports both as
// misuse or as a broken constraint, so the results of binding are not looked at one by one.
Statement& Statement::bind(int parameter, std::int64_t value) {
  sqlite3_bind_int64(handle_.get(), parameter, value);
  return *this;
}

Statement& Statement::bind(int parameter, std::uint64_t value) {
  return bind(parameter, static_cast<std::int64_t>(value));
}

Statement& Statement::bind(int parameter, double value) {
  sqlite3_bind_double(handle_.get(), parameter, value);
  return *this;
}

Statement& Statement::bind(int parameter, std::string_view text) {
  sqlite3_bind_text64(handle_.get(), parameter, text.empty() ? "" : text.data(), text.size(),
                      SQLITE_STATIC, SQLITE_UTF8);
  return *this;
}

Statement& Statement::bind_blob(int parameter, std::string_view bytes) {
  sqlite3_bind_blob64(handle_.get(), parameter, bytes.empty() ? "" : bytes.data(), bytes.size(),
                      SQLITE_STATIC);
  return *this;
}

Statement& Statement::bind_null(int parameter) {
  sqlite3_bind_null(handle_.get(), parameter);
  return *this;
}

int Statement::step() { return sqlite3_step(handle_.get()); }

int Statement::run() {
  const int code = step();
  reset();
  return code == SQLITE_ROW ? SQLITE_DONE : code;
}

void Statement::reset() { sqlite3_reset(handle_.get()); }

bool Statement::is_null(int column) const {
  return sqlite3_column_type(handle_.get(), column) == SQLITE_NULL;
}

std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(handle_.get(), column);
}

double Statement::real(int column) const { return sqlite3_column_double(handle_.get(), column); }

std::string_view Statement::text(int column) const {
  const void* bytes = sqlite3_column_blob(handle_.get(), column);
  const int size = sqlite3_column_bytes(handle_.get(), column);
  if (bytes == nullptr || size <= 0) return {};
  return {static_cast<const char*>(bytes), static_cast<std::size_t>(size)};
}

// ---- Connection

void Connection::Close::operator()(sqlite3* connection) const { sqlite3_close_v2(connection); }

Result<Connection> Connection::open(const std::filesystem::path& file, Mode mode) {
  // NOMUTEX: a connection is used by one thread at a time, so its own locks would only cost.
  int flags = SQLITE_OPEN_NOMUTEX;
  flags |=
      mode == Mode::read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  [[maybe_unused]] static const bool configured = configure_sqlite();
  Connection connection;
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(file.c_str(), &raw, flags, nullptr);
  connection.handle_.reset(raw);
  if (code != SQLITE_OK) return std::unexpected(sqlite_error(code, "cannot open the store"));
  sqlite3_extended_result_codes(raw, 1);
  sqlite3_busy_timeout(raw, 5'000);
  return connection;
}

Result<void> Connection::execute(const char* sql) {
  const int code = sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return std::unexpected(sqlite_error(code, "the store refused a command"));
  return {};
}

Result<Statement> Connection::prepare(std::string_view sql) {
  Statement statement;
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
  statement.handle_.reset(raw);
  if (code != SQLITE_OK) return std::unexpected(sqlite_error(code, "the store refused a query"));
  return statement;
}

Result<void> Connection::prepare(std::span<const std::string_view> sql, std::span<Statement> into) {
  for (std::size_t i = 0; i < sql.size(); ++i) {
    Result<Statement> statement = prepare(sql[i]);
    if (!statement) return fail(std::move(statement));
    into[i] = *std::move(statement);
  }
  return {};
}

Result<std::int64_t> Connection::query_integer(std::string_view sql) {
  Result<Statement> statement = prepare(sql);
  if (!statement) return fail(std::move(statement));
  const int code = statement->step();
  if (code == SQLITE_DONE) return 0;
  if (code != SQLITE_ROW) return std::unexpected(sqlite_error(code, "the store cannot be read"));
  return statement->integer(0);
}

Result<bool> Connection::checkpoint() {
  int pages = 0;
  int copied = 0;
  const int code =
      sqlite3_wal_checkpoint_v2(handle_.get(), nullptr, SQLITE_CHECKPOINT_PASSIVE, &pages, &copied);
  // Another connection is at it: then it is being done.
  if ((code & 0xff) == SQLITE_BUSY) return false;
  if (code == SQLITE_OK && pages >= 0) return copied == pages;
  if (code == SQLITE_OK) return fail(ErrorCode::internal, "the store has no write-ahead log here");
  return std::unexpected(sqlite_error(code, "the write-ahead log cannot be moved into the store"));
}

int Connection::empty_log() {
  return sqlite3_wal_checkpoint_v2(handle_.get(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr,
                                   nullptr);
}

void Connection::set_log_moves_at_close(bool moves) {
  sqlite3_db_config(handle_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, moves ? 0 : 1, nullptr);
}

std::size_t Connection::cache_bytes() const {
  int bytes = 0;
  int highest = 0;
  sqlite3_db_status(handle_.get(), SQLITE_DBSTATUS_CACHE_USED, &bytes, &highest, 0);
  return static_cast<std::size_t>(bytes);
}

bool Connection::is_autocommit() const { return sqlite3_get_autocommit(handle_.get()) != 0; }

}  // namespace quern
