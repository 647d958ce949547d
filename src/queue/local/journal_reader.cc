#include "queue/local/journal_reader.h"

#include <sqlite3.h>

#include <algorithm>
#include <string>
#include <utility>

#include "queue/local/row_codec.h"

namespace quern {
namespace {

constexpr std::string_view kFindEnded = "SELECT " QUERN_ENDED_COLUMNS " FROM ended WHERE seq = ?";
constexpr std::string_view kFindAttempts =
    "SELECT number, started, ended, result, reason, retried, retry_at FROM attempt"
    " WHERE seq = ? ORDER BY token";
constexpr std::string_view kFindLogs =
    "SELECT " QUERN_LOG_COLUMNS " FROM log WHERE seq = ? ORDER BY number";
constexpr std::string_view kIsLive = "SELECT seq, chance FROM task WHERE seq = ?";

/// SQLite calls back each so many steps of its machine.
constexpr int kProgressSteps = 100'000;

StoredAttempt read_attempt(Statement& row) {
  StoredAttempt stored;
  stored.attempt.number = static_cast<std::uint32_t>(row.integer(0));
  stored.attempt.started = wall_time(row.integer(1));
  stored.attempt.ended = wall_time(row.integer(2));
  stored.attempt.result = row.text(3);
  stored.attempt.reason = row.text(4);
  stored.retried = row.integer(5) != 0;
  stored.retry_at = time_of(row, 6);
  return stored;
}

ListedTask read_listed_live(Statement& row) { return {read_live(row), {}}; }

ListedTask read_listed_ended(Statement& row) {
  EndedTask task = read_ended_head(row);
  return {std::move(task.row), std::move(task.result)};
}

bool wants(const TaskFilter& filter, bool terminal) {
  if (filter.states.empty()) return true;
  return std::any_of(filter.states.begin(), filter.states.end(),
                     [&](TaskState state) { return is_terminal(state) == terminal; });
}

/// The conditions of a filter, over the columns that both tables have.
std::string where_of(const TaskFilter& filter) {
  std::string where = " WHERE seq < ?1";
  if (!filter.key.empty()) where += " AND key = (SELECT id FROM key_name WHERE name = ?2)";
  if (!filter.model.empty()) where += " AND model = (SELECT id FROM model_name WHERE name = ?3)";
  where += " AND submitted <= ?4";
  if (!filter.states.empty()) {
    where += " AND state IN (";
    for (const TaskState state : filter.states) {
      where += std::to_string(static_cast<int>(state)) + ",";
    }
    where.back() = ')';
  }
  return where + " ORDER BY seq DESC LIMIT ?5";
}

/// A walk ended early: the page may go no further back than it came.
Result<void> cut_short(ListedPage& page, std::size_t rows_before) {
  if (page.tasks.size() == rows_before) {
    return fail(ErrorCode::unavailable,
                "the search took too long: narrow it, or page with `before`");
  }
  page.oldest = std::max(page.oldest, page.tasks.back().row.id.sequence());
  page.more = true;
  return {};
}

/// Stops a walk that takes too long, and tells that it did.
class ScanLimit {
 public:
  explicit ScanLimit(sqlite3* connection) : connection_(connection) {
    sqlite3_progress_handler(connection_, kProgressSteps, &ScanLimit::on_progress, this);
  }
  ~ScanLimit() { sqlite3_progress_handler(connection_, 0, nullptr, nullptr); }
  ScanLimit(const ScanLimit&) = delete;
  ScanLimit& operator=(const ScanLimit&) = delete;

 private:
  static int on_progress(void* self) {
    return ++static_cast<ScanLimit*>(self)->calls_ > kListScanMax / kProgressSteps ? 1 : 0;
  }

  sqlite3* connection_;
  int calls_ = 0;
};

}  // namespace

struct JournalReader::Impl {
  Connection connection;
  Statement find_ended;
  Statement find_attempts;
  Statement find_logs;
  Statement is_live;

  Result<void> prepare() {
    const std::pair<Statement*, std::string_view> all[] = {{&find_ended, kFindEnded},
                                                           {&find_attempts, kFindAttempts},
                                                           {&find_logs, kFindLogs},
                                                           {&is_live, kIsLive}};
    for (const auto& [statement, sql] : all) {
      Result<Statement> prepared = connection.prepare(sql);
      if (!prepared) return fail(std::move(prepared));
      *statement = *std::move(prepared);
    }
    return {};
  }

  /// Ends the read transaction, whatever was met in it: a COMMIT would tell of damage once more. After
  /// some errors SQLite has ended it by itself.
  void end_look() {
    if (!connection.is_autocommit()) static_cast<void>(connection.execute("ROLLBACK"));
  }

  Result<std::optional<EndedTask>> ended(const TaskId& id) {
    const StatementReset reset(find_ended);
    const int code = find_ended.bind(1, id.sequence()).step();
    if (code == kSqliteDone) return std::nullopt;
    if (code != kSqliteRow) return std::unexpected(sqlite_error(code, "the store cannot be read"));
    Result<EndedTask> task = read_ended(find_ended);
    if (!task) return fail(std::move(task));
    if (task->row.id != id) return std::nullopt;
    return *std::move(task);
  }

  Result<TaskHistory> history(const TaskId& id) {
    Result<std::vector<StoredAttempt>> attempts =
        read_all<StoredAttempt>(find_attempts.bind(1, id.sequence()), read_attempt);
    if (!attempts) return fail(std::move(attempts));
    Result<std::vector<NumberedLog>> logs =
        read_all<NumberedLog>(find_logs.bind(1, id.sequence()), read_log);
    if (!logs) return fail(std::move(logs));
    return TaskHistory{*std::move(attempts), *std::move(logs)};
  }

  /// One table's part of a page, with one row more than asked for if there is one.
  Result<void> list_from(const char* columns_and_table, const TaskFilter& filter,
                         std::optional<WallTime> submitted_before, ListedTask (*read)(Statement&),
                         ListedPage& page);
  Result<void> list_both(const TaskFilter& filter, std::optional<WallTime> submitted_before,
                         ListedPage& page);
};

JournalReader::JournalReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
JournalReader::~JournalReader() = default;

Result<std::unique_ptr<JournalReader>> JournalReader::open(const std::filesystem::path& file) {
  Result<Connection> connection = Connection::open(file, Connection::Mode::read_only);
  if (!connection) return fail(std::move(connection));
  auto impl = std::make_unique<Impl>();
  impl->connection = *std::move(connection);
  if (Result<void> done = impl->connection.execute("PRAGMA cache_size=-16384"); !done) {
    return fail(std::move(done));
  }
  if (Result<void> done = impl->prepare(); !done) return fail(std::move(done));
  return std::unique_ptr<JournalReader>(new JournalReader(std::move(impl)));
}

Result<std::optional<EndedRecord>> JournalReader::find_ended(const TaskId& id) {
  // One read transaction, so that row, attempts and logs are of the same moment.
  if (Result<void> done = impl_->connection.execute("BEGIN"); !done) return fail(std::move(done));
  Result<std::optional<EndedTask>> task = impl_->ended(id);
  Result<TaskHistory> history;
  if (task && *task) history = impl_->history(id);
  impl_->end_look();
  if (!task) return fail(std::move(task));
  if (!*task) return std::nullopt;
  if (!history) return EndedRecord{**std::move(task), {}, history.error()};
  if ((*task)->last_attempt) {
    history->attempts.push_back(*std::exchange((*task)->last_attempt, std::nullopt));
  }
  return EndedRecord{**std::move(task), *std::move(history)};
}

Result<TaskHistory> JournalReader::history(const TaskId& id) { return impl_->history(id); }

Result<bool> JournalReader::is_live(const TaskId& id) {
  Statement& sql = impl_->is_live;
  const StatementReset reset(sql);
  const int code = sql.bind(1, id.sequence()).step();
  if (code == kSqliteDone) return false;
  if (code != kSqliteRow) return std::unexpected(sqlite_error(code, "the store cannot be read"));
  return make_task_id(sql.integer(0), sql.integer(1)) == id;
}

Result<void> JournalReader::Impl::list_from(const char* columns_and_table, const TaskFilter& filter,
                                            std::optional<WallTime> submitted_before,
                                            ListedTask (*read)(Statement&), ListedPage& page) {
  Result<Statement> prepared = connection.prepare(columns_and_table + where_of(filter));
  if (!prepared) return fail(std::move(prepared));
  Statement& sql = *prepared;
  constexpr std::int64_t kNewest = INT64_MAX;
  sql.bind(1, filter.before ? filter.before->sequence() : kNewest);
  if (!filter.key.empty()) sql.bind(2, std::string_view(filter.key));
  if (!filter.model.empty()) sql.bind(3, std::string_view(filter.model));
  sql.bind(4, submitted_before ? stored_time(*submitted_before) : kNewest);
  sql.bind(5, std::int64_t{filter.count_max} + 1);
  const ScanLimit limit(connection.handle());
  const std::size_t before = page.tasks.size();
  for (;;) {
    const int code = sql.step();
    if (code == kSqliteDone) return {};
    if (code == kSqliteRow) {
      page.tasks.push_back(read(sql));
    } else if (code == SQLITE_INTERRUPT) {
      return cut_short(page, before);
    } else {
      return std::unexpected(sqlite_error(code, "the store cannot be read"));
    }
  }
}

Result<void> JournalReader::Impl::list_both(const TaskFilter& filter,
                                            std::optional<WallTime> submitted_before,
                                            ListedPage& page) {
  if (wants(filter, false)) {
    Result<void> done = list_from("SELECT " QUERN_LIVE_COLUMNS " FROM task", filter,
                                  submitted_before, read_listed_live, page);
    if (!done) return done;
  }
  if (!wants(filter, true)) return {};
  return list_from("SELECT " QUERN_ENDED_HEAD_COLUMNS " FROM ended", filter, submitted_before,
                   read_listed_ended, page);
}

Result<ListedPage> JournalReader::list(const TaskFilter& filter,
                                       std::optional<WallTime> submitted_before) {
  ListedPage page;
  // One read transaction: a task that ends meanwhile is in one of the tables, not in both or
  // neither.
  if (Result<void> done = impl_->connection.execute("BEGIN"); !done) return fail(std::move(done));
  Result<void> listed = impl_->list_both(filter, submitted_before, page);
  impl_->end_look();
  if (!listed) return fail(std::move(listed));
  std::erase_if(page.tasks,
                [&](const ListedTask& task) { return task.row.id.sequence() < page.oldest; });
  std::sort(page.tasks.begin(), page.tasks.end(), [](const ListedTask& a, const ListedTask& b) {
    return a.row.id.sequence() > b.row.id.sequence();
  });
  if (page.tasks.size() > filter.count_max) {
    page.tasks.resize(filter.count_max);
    page.more = true;
  }
  return page;
}

}  // namespace quern
