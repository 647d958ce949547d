#pragma once
// A thin, exception-free hold on SQLite: connections, prepared statements, and its error codes as
// ours. A connection and its statements belong to one thread at a time.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace quern {

/// SQLite's own numbers for "here is a row" and "there are no more", without its header.
inline constexpr int kSqliteRow = 100;
inline constexpr int kSqliteDone = 101;

/// What a failed call means to the caller: unavailable (full, read-only, busy or broken disk: it
/// may pass), data_loss (the file is damaged), internal (our SQL is wrong). The message names no
/// file.
Error sqlite_error(int code, std::string_view doing);

/// A prepared statement, kept for the life of its connection.
///
/// bind() keeps no copy: texts and blobs must live until reset(). Parameters count from 1, columns
/// from 0.
class Statement {
 public:
  Statement() = default;

  Statement& bind(int parameter, std::int64_t value);
  Statement& bind(int parameter, std::uint64_t value);
  Statement& bind(int parameter, double value);
  Statement& bind(int parameter, std::string_view text);
  Statement& bind_blob(int parameter, std::string_view bytes);
  Statement& bind_null(int parameter);

  /// kSqliteRow, kSqliteDone, or an extended error code.
  int step();
  /// Runs a statement that has no rows: kSqliteDone or an extended error code, and resets it.
  int run();
  void reset();

  [[nodiscard]] bool is_null(int column) const;
  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] double real(int column) const;
  /// Valid until the next step or reset.
  [[nodiscard]] std::string_view text(int column) const;

 private:
  friend class Connection;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  std::unique_ptr<sqlite3_stmt, Finalize> handle_;
};

/// Resets a statement at the end of a scope, so that no read transaction is left open.
class StatementReset {
 public:
  explicit StatementReset(Statement& statement) : statement_(statement) {}
  ~StatementReset() { statement_.reset(); }
  StatementReset(const StatementReset&) = delete;
  StatementReset& operator=(const StatementReset&) = delete;

 private:
  Statement& statement_;
};

class Connection {
 public:
  enum class Mode : std::uint8_t { read_write, read_only };

  /// Opens the file, and makes it first in read_write mode.
  static Result<Connection> open(const std::filesystem::path& file, Mode mode);

  /// Runs statements that answer nothing, or whose answer does not matter.
  Result<void> execute(const char* sql);
  Result<Statement> prepare(std::string_view sql);
  /// As many statements, in the same order.
  Result<void> prepare(std::span<const std::string_view> sql, std::span<Statement> into);
  /// The first column of the first row; 0 when there is none or it is null.
  Result<std::int64_t> query_integer(std::string_view sql);
  /// Syncs the write-ahead log, and copies what it can of it into the main file, durably, without
  /// waiting for anybody. What fails is left for the next time: nothing is lost, the log only grows
  /// longer. Answers whether all of it is copied: a reader may still need the rest, or somebody else
  /// be copying. Errors: internal (this connection has not read anything yet, so that it knows of no
  /// log), unavailable, data_loss.
  Result<bool> checkpoint();
  /// Copies all of the write-ahead log into the main file, durably, and empties the log: 0 or an
  /// extended error code. Waits for readers.
  int empty_log();
  /// Whether the last connection moves the write-ahead log into the main file when it is closed, which SQLite does
  /// unless told otherwise.
  void set_log_moves_at_close(bool moves);
  /// Memory of the cache of pages.
  [[nodiscard]] std::size_t cache_bytes() const;
  /// True outside of BEGIN … COMMIT.
  [[nodiscard]] bool is_autocommit() const;
  [[nodiscard]] sqlite3* handle() const { return handle_.get(); }

 private:
  struct Close {
    void operator()(sqlite3* connection) const;
  };
  std::unique_ptr<sqlite3, Close> handle_;
};

}  // namespace quern
