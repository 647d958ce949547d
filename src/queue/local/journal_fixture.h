#pragma once
// A journal in a folder of its own, rows for it, and what a crash would leave of it.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "queue/local/data_folder.h"
#include "queue/local/journal.h"
#include "queue/local/journal_reader.h"
#include "queue/local/sqlite.h"
#include "queue/local/table_gate.h"
#include "testing/temp_folder.h"

namespace quern {

constexpr WallTime at(std::int64_t microseconds) {
  return WallTime{std::chrono::microseconds{microseconds}};
}

inline TaskId make_id(std::int64_t sequence) {
  return make_task_id(sequence, 0x0123'4567'89ab'cdefLL);
}

inline TaskRow make_row(std::int64_t sequence) {
  TaskRow row;
  row.id = make_id(sequence);
  row.rank = 0.1 + static_cast<double>(sequence);
  row.submitted = at(1'000 + sequence);
  return row;
}

/// Under its `attempt`th attempt, whose lease token is of that attempt alone.
inline TaskRow make_running(std::int64_t sequence, std::uint32_t attempt = 1) {
  TaskRow row = make_row(sequence);
  row.state = TaskState::running;
  row.attempts_started = attempt;
  row.lease_token = static_cast<std::uint64_t>(sequence) * 100 + attempt;
  return row;
}

inline TaskRow make_ended(std::int64_t sequence, WallTime ended,
                          TaskState state = TaskState::failed) {
  TaskRow row = make_row(sequence);
  row.state = state;
  row.ended = ended;
  return row;
}

/// The store's files as they are at this moment, as a crash would leave them. Nobody may be writing
/// the tables.
inline void copy_store(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::filesystem::create_directories(to);
  for (const char* name : {"queue.sqlite", "queue.sqlite-wal", "redo-a", "redo-b"}) {
    std::filesystem::copy_file(from / name, to / name,
                               std::filesystem::copy_options::overwrite_existing);
  }
}

class JournalTest : public testing::Test {
 protected:
  JournalTest() { open(); }
  ~JournalTest() override { release(); }

  void open() {
    journal_.reset();
    options_.folder = folder_->path();
    Result<std::unique_ptr<Journal>> opened = Journal::open(options_);
    ASSERT_TRUE(opened) << opened.error().message;
    journal_ = *std::move(opened);
  }
  /// Goes on with what a crash would have left. The tables are settled, or the gate holds them.
  void reopen_after_crash() {
    auto crashed = std::make_unique<TempFolder>();
    copy_store(folder_->path(), crashed->path());
    release();  // ending writes what is left
    journal_.reset();
    folder_ = std::move(crashed);
    open();
  }
  [[nodiscard]] std::filesystem::path file() const { return database_in(folder_->path()); }
  Journal& journal() { return *journal_; }

  /// One transaction.
  template <typename... Changes>
  void write(const Changes&... changes) {
    (journal().add(changes), ...);
    commit();
  }
  void commit() {
    const Result<void> done = journal().commit();
    ASSERT_TRUE(done) << done.error().message;
  }
  void settle() {
    const Result<void> done = journal().settle();
    ASSERT_TRUE(done) << done.error().message;
  }
  /// What is committed until now is being written, and what comes after it gathers behind that, until
  /// release(). The gate is installed.
  void hold() {
    gate_.close();
    write();
    waiter_ = std::jthread([this] { static_cast<void>(journal().settle()); });
    gate_.await_arrival();
  }
  void release() {
    gate_.open();
    if (waiter_.joinable()) waiter_.join();
  }
  /// Over another connection.
  void execute(const char* sql) {
    Connection connection = Connection::open(file(), Connection::Mode::read_write).value();
    const Result<void> done = connection.execute(sql);
    ASSERT_TRUE(done) << done.error().message;
  }
  std::int64_t query_integer(std::string_view sql) {
    return Connection::open(file(), Connection::Mode::read_only)->query_integer(sql).value();
  }

  using Live = std::vector<std::pair<TaskRow, std::optional<WallTime>>>;
  /// As a recovery finds them: of a journal that nothing was committed to yet.
  Live recovered_live() {
    Live rows;
    const Result<void> done =
        journal().for_each_live([&](const TaskRow& row, std::optional<WallTime> started) {
          rows.emplace_back(row, started);
        });
    EXPECT_TRUE(done);
    return rows;
  }
  /// The live tasks in the tables, after all that was committed.
  Live live() {
    open();
    settle();
    return recovered_live();
  }
  /// Of the tables, after all that was committed.
  std::unique_ptr<JournalReader> reader() {
    settle();
    return JournalReader::open(file()).value();
  }

  TableGate gate_;  // outlives the journal
  JournalOptions options_;
  std::unique_ptr<TempFolder> folder_ = std::make_unique<TempFolder>();
  std::unique_ptr<Journal> journal_;
  std::jthread waiter_;  // so that the writer begins at once
};

}  // namespace quern
