#pragma once
// Tests only: stands in the way of the tables' transactions, so that committed changes stay pending
// for as long as a test wants, or fail.
//
//   TableGate gate;
//   gate.install(file);      // once the tables are there
//   gate.close();
//   …commit…
//   gate.await_arrival();    // the writer stands at the end of its transaction
//
// A trigger in the store calls a function of ours that every connection of the process gets. Stores
// that are copied have the trigger too, and the same gate. Threads: any. One at a time.

#include <sqlite3.h>

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>

#include "base/assert.h"
#include "queue/local/sqlite.h"

namespace quern {

class TableGate {
 public:
  TableGate() {
    QUERN_ASSERT(present_ == nullptr);
    present_ = this;
    sqlite3_auto_extension(reinterpret_cast<void (*)()>(add_function));
  }
  ~TableGate() {
    sqlite3_cancel_auto_extension(reinterpret_cast<void (*)()>(add_function));
    present_ = nullptr;
  }
  TableGate(const TableGate&) = delete;
  TableGate& operator=(const TableGate&) = delete;

  void install(const std::filesystem::path& file) {
    Connection connection = Connection::open(file, Connection::Mode::read_write).value();
    QUERN_ASSERT(
        connection.execute("CREATE TRIGGER gate BEFORE UPDATE OF applied ON store"
                           " BEGIN SELECT pass_gate(); END"));
  }

  /// Transactions wait.
  void close() { set(State::closed); }
  /// Until one waits, or has failed here.
  void await_arrival() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return arrivals_ > 0; });
  }
  /// Of a closed gate: one transaction goes on, the next waits again.
  void let_one_through() {
    {
      const std::scoped_lock lock(mutex_);
      ++passes_;
    }
    changed_.notify_all();
  }
  /// Transactions fail, also one that waits.
  void refuse() { set(State::refusing); }
  void open() { set(State::open); }
  [[nodiscard]] bool is_closed() {
    const std::scoped_lock lock(mutex_);
    return state_ == State::closed;
  }

 private:
  enum class State : std::uint8_t { open, closed, refusing };

  void set(State state) {
    {
      const std::scoped_lock lock(mutex_);
      state_ = state;
      arrivals_ = 0;
      passes_ = 0;
    }
    changed_.notify_all();
  }
  bool pass() {
    std::unique_lock lock(mutex_);
    if (state_ == State::open) return true;
    ++arrivals_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return state_ != State::closed || passes_ > 0; });
    if (state_ == State::closed) --passes_;
    return state_ != State::refusing;
  }
  static int add_function(sqlite3* connection, char** /*error*/, const void* /*routines*/) {
    return sqlite3_create_function(connection, "pass_gate", 0, SQLITE_UTF8, nullptr, call, nullptr,
                                   nullptr);
  }
  static void call(sqlite3_context* context, int /*count*/, sqlite3_value** /*arguments*/) {
    if (present_->pass()) {
      sqlite3_result_int(context, 1);
    } else {
      sqlite3_result_error(context, "the gate is shut", -1);
    }
  }

  static inline TableGate* present_ = nullptr;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  State state_ = State::open;
  int arrivals_ = 0;  // since it is as it is
  int passes_ = 0;
};

}  // namespace quern
