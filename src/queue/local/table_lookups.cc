#include "queue/local/table_lookups.h"

#include <algorithm>
#include <array>
#include <utility>

#include "queue/local/output_json.h"
#include "queue/local/row_codec.h"
#include "queue/local/sqlite.h"

namespace quern {
namespace {

/// Every query, prepared once.
enum class Sql : std::uint8_t {
  find_idempotency,
  find_input,
  scan_inputs,
  hold,
  find_ended,
  find_ended_row,
  find_logs,
  find_expired,
  find_outputs,
  oldest_ended,
  oldest_idempotency,
  oldest_idempotency_after,
  count,
};

constexpr auto kSql = std::to_array<std::string_view>({
    "SELECT seq, chance, fingerprint, created FROM idempotency WHERE key = ? AND name = ?",
    "SELECT coalesce((SELECT body FROM task WHERE seq = ?1), (SELECT body FROM input WHERE seq "
    "= ?1), (SELECT body FROM ended WHERE seq = ?1))",  // one that is being revived
    "SELECT seq, body FROM task WHERE seq >= ? ORDER BY seq",
    "SELECT id FROM store",
    "SELECT " QUERN_ENDED_COLUMNS " FROM ended WHERE seq = ?",
    "SELECT " QUERN_ENDED_HEAD_COLUMNS " FROM ended WHERE seq = ?",
    "SELECT " QUERN_LOG_COLUMNS " FROM log WHERE seq = ? ORDER BY number",
    // SQLite reads every column of a row that it comes to, so the large one is asked for by itself.
    "SELECT seq, chance FROM ended WHERE ended < ? ORDER BY ended",
    "SELECT outputs FROM ended WHERE seq = ?",
    "SELECT ended FROM ended ORDER BY ended LIMIT 1",
    // Among as many as are forgotten at a time: clocks are set back, so the first need not be the oldest.
    "SELECT created FROM (SELECT created FROM idempotency ORDER BY seq LIMIT 500) ORDER BY created "
    "LIMIT 1",
    "SELECT max(seq), min(created) FROM"
    " (SELECT seq, created FROM idempotency WHERE seq > ? ORDER BY seq LIMIT 500)",
});
static_assert(kSql.size() == static_cast<std::size_t>(Sql::count));

Error read_error(int code) { return sqlite_error(code, "the store cannot be read"); }

Result<std::optional<WallTime>> read_first_time(Statement& query) {
  const StatementReset reset(query);
  const int code = query.step();
  if (code == kSqliteDone) return std::nullopt;
  if (code != kSqliteRow) return std::unexpected(read_error(code));
  return wall_time(query.integer(0));
}

/// `known`: how many have names.
bool is_number_of_name(std::int64_t number, std::size_t known) {
  return number >= 0 && number < static_cast<std::int64_t>(known) + kLostNamesMax;
}

/// Of rows that begin with the name's number.
template <typename Name, typename Read>
Result<std::vector<Name>> read_names(Statement& query, Read read) {
  auto rows = read_all<std::pair<std::int64_t, Name>>(
      query, [&](Statement& row) { return std::pair(row.integer(0), read(row)); });
  if (!rows) return fail(std::move(rows));
  std::vector<Name> names;
  for (auto& [number, name] : *rows) {
    if (!is_number_of_name(number, names.size())) {
      return fail(ErrorCode::data_loss,
                  "the number of a stored name is damaged: " + std::to_string(number));
    }
    put_name(names, static_cast<std::size_t>(number), std::move(name));
  }
  return names;
}

/// The row, unless it is one that no queue has written: the core relies on these. `keys` and `models`
/// are how many have names.
Result<TaskRow> read_sound_live(const Statement& row, std::size_t keys, std::size_t models) {
  const std::int64_t state = row.integer(4);
  const bool is_sound = (state == static_cast<std::int64_t>(TaskState::queued) ||
                         state == static_cast<std::int64_t>(TaskState::running)) &&
                        is_number_of_name(row.integer(2), keys) &&
                        is_number_of_name(row.integer(3), models);
  TaskRow task = read_live(row);
  if (is_sound) return task;
  return fail(ErrorCode::data_loss, "the stored task " + task.id.to_string() + " is damaged");
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

}  // namespace

struct TableLookups::Impl {
  Connection connection;
  std::array<Statement, kSql.size()> statements;
  std::int64_t idempotency_seen = 0;  // sequence: where the last look at more of them ended

  Statement& sql(Sql which) { return statements[static_cast<std::size_t>(which)]; }
  Result<std::optional<WallTime>> oldest_of_next_idempotency();
  Result<void> add_expired(const TaskId& id, ExpiredTasks& expired);
};

TableLookups::TableLookups(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TableLookups::~TableLookups() = default;

Result<std::unique_ptr<TableLookups>> TableLookups::open(const std::filesystem::path& file) {
  Result<Connection> connection = Connection::open(file, Connection::Mode::read_only);
  if (!connection) return fail(std::move(connection));
  auto impl = std::make_unique<Impl>();
  impl->connection = *std::move(connection);
  if (Result<void> done = impl->connection.execute("PRAGMA cache_size=-8192"); !done) {
    return fail(std::move(done));
  }
  Result<void> prepared = impl->connection.prepare(kSql, impl->statements);
  if (!prepared) return fail(std::move(prepared));
  return std::unique_ptr<TableLookups>(new TableLookups(std::move(impl)));
}

// ---- recovery

Result<LogPosition> TableLookups::log_position() {
  Result<Statement> query = impl_->connection.prepare("SELECT log_seed, applied FROM store");
  if (!query) return fail(std::move(query));
  const int code = query->step();
  if (code == kSqliteDone) {
    return fail(ErrorCode::data_loss,
                "the row of the table `store` is missing, which says what the tables have of the "
                "redo log");
  }
  if (code != kSqliteRow) return std::unexpected(read_error(code));
  return LogPosition{static_cast<std::uint64_t>(query->integer(0)),
                     static_cast<std::uint64_t>(query->integer(1))};
}

Result<std::vector<std::string>> TableLookups::key_names() {
  Result<Statement> query = impl_->connection.prepare("SELECT id, name FROM key_name ORDER BY id");
  if (!query) return fail(std::move(query));
  return read_names<std::string>(*query, [](Statement& row) { return std::string(row.text(1)); });
}

Result<std::vector<StoredModel>> TableLookups::model_names() {
  Result<Statement> query =
      impl_->connection.prepare("SELECT id, name, paused FROM model_name ORDER BY id");
  if (!query) return fail(std::move(query));
  return read_names<StoredModel>(*query, [](Statement& row) {
    return StoredModel{std::string(row.text(1)), row.integer(2) != 0};
  });
}

Result<std::int64_t> TableLookups::last_sequence() {
  return impl_->connection.query_integer(
      "SELECT max(coalesce((SELECT max(seq) FROM task), 0), coalesce((SELECT max(seq) FROM ended), "
      "0),"
      " coalesce((SELECT max(seq) FROM idempotency), 0))");
}

Result<std::uint64_t> TableLookups::reserved_lease_tokens() {
  const Result<std::int64_t> token =
      impl_->connection.query_integer("SELECT lease_tokens FROM store");
  if (!token) return std::unexpected(token.error());
  return static_cast<std::uint64_t>(*token);
}

Result<void> TableLookups::for_each_live(const LiveRow& row) {
  const Result<std::vector<std::string>> keys = key_names();
  if (!keys) return std::unexpected(keys.error());
  const Result<std::vector<StoredModel>> models = model_names();
  if (!models) return std::unexpected(models.error());
  Result<Statement> query =
      impl_->connection.prepare("SELECT " QUERN_LIVE_COLUMNS " FROM task ORDER BY seq");
  if (!query) return fail(std::move(query));
  for (;;) {
    const int code = query->step();
    if (code == kSqliteDone) return {};
    if (code != kSqliteRow) return std::unexpected(read_error(code));
    const Result<TaskRow> task = read_sound_live(*query, keys->size(), models->size());
    if (!task) return std::unexpected(task.error());
    row(*task, time_of(*query, 12));
  }
}

// ---- lookups

Result<std::optional<IdempotencyRecord>> TableLookups::find_idempotency(KeyIndex key,
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

Result<std::string> TableLookups::input(const TaskId& id) {
  Statement& sql = impl_->sql(Sql::find_input);
  const StatementReset reset(sql);
  const int code = sql.bind(1, id.sequence()).step();
  if (code != kSqliteRow) return std::unexpected(read_error(code));
  if (sql.is_null(0)) return fail(ErrorCode::not_found, "the task's input is not stored");
  return std::string(sql.text(0));
}

std::vector<Result<std::string>> TableLookups::inputs(std::span<const TaskId> ids) {
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

Result<std::optional<EndedTask>> TableLookups::find_ended(const TaskId& id) {
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

Result<std::optional<TaskRow>> TableLookups::find_ended_row(const TaskId& id) {
  Statement& sql = impl_->sql(Sql::find_ended_row);
  const StatementReset reset(sql);
  const int code = sql.bind(1, id.sequence()).step();
  if (code == kSqliteDone) return std::nullopt;
  if (code != kSqliteRow) return std::unexpected(read_error(code));
  const TaskRow row = read_ended_head(sql).row;
  if (row.id != id) return std::nullopt;
  return row;
}

Result<std::vector<NumberedLog>> TableLookups::logs(const TaskId& id) {
  Statement& sql = impl_->sql(Sql::find_logs);
  return read_all<NumberedLog>(sql.bind(1, id.sequence()), read_log);
}

Result<ExpiredTasks> TableLookups::expired(WallTime ended_before, std::size_t count_max,
                                           const Skip& skip) {
  ExpiredTasks expired;
  Statement& scan = impl_->sql(Sql::find_expired);
  const StatementReset reset(scan);
  scan.bind(1, stored_time(ended_before));
  while (!expired.is_full(count_max)) {
    const int code = scan.step();
    if (code == kSqliteDone) break;
    if (code != kSqliteRow) return std::unexpected(read_error(code));
    const TaskId id = make_task_id(scan.integer(0), scan.integer(1));
    if (skip(id)) continue;
    Result<void> added = impl_->add_expired(id, expired);
    if (!added) return fail(std::move(added));
  }
  return expired;
}

Result<void> TableLookups::Impl::add_expired(const TaskId& id, ExpiredTasks& expired) {
  Statement& query = sql(Sql::find_outputs);
  const StatementReset reset(query);
  const int code = query.bind(1, id.sequence()).step();
  if (code != kSqliteRow) return std::unexpected(read_error(code));
  const std::string_view outputs = query.text(0);
  expired.bytes_read += outputs.size();
  expired.tasks.push_back({id, decode_files(outputs)});
  return {};
}

Result<std::optional<WallTime>> TableLookups::oldest_ended() {
  return read_first_time(impl_->sql(Sql::oldest_ended));
}

Result<std::optional<WallTime>> TableLookups::oldest_idempotency() {
  Result<std::optional<WallTime>> oldest = read_first_time(impl_->sql(Sql::oldest_idempotency));
  if (!oldest || !*oldest) return oldest;
  const Result<std::optional<WallTime>> next = impl_->oldest_of_next_idempotency();
  if (!next) return next;
  if (*next) oldest = std::min(**oldest, **next);
  return oldest;
}

Result<std::optional<WallTime>> TableLookups::Impl::oldest_of_next_idempotency() {
  Statement& query = sql(Sql::oldest_idempotency_after);
  const StatementReset reset(query);
  const int code = query.bind(1, idempotency_seen).step();
  if (code != kSqliteRow) return std::unexpected(read_error(code));
  // None are left: the next look begins at the first one again.
  idempotency_seen = query.is_null(0) ? 0 : query.integer(0);
  return time_of(query, 1);
}

}  // namespace quern
