#pragma once
// The files of a server's store, from outside: what tests tear, cut, damage and hold.

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>

#include "testing/log_content.h"
#include "testing/temp_folder.h"

namespace quern {

/// The paths in a data folder.
struct StoreFiles {
  std::filesystem::path folder;

  [[nodiscard]] std::filesystem::path database() const { return folder / "queue.sqlite"; }
  [[nodiscard]] std::filesystem::path tables_log() const { return folder / "queue.sqlite-wal"; }
  [[nodiscard]] std::filesystem::path redo_a() const { return folder / "redo-a"; }
  [[nodiscard]] std::filesystem::path redo_b() const { return folder / "redo-b"; }
};

/// The write lock of the tables, held by this process. Until a server gives up to wait for it, what
/// the server commits is in the redo log alone.
class StoreLock {
 public:
  explicit StoreLock(const std::filesystem::path& database) {
    EXPECT_EQ(::sqlite3_open(database.c_str(), &connection_), SQLITE_OK);
    EXPECT_EQ(::sqlite3_busy_timeout(connection_, 30'000), SQLITE_OK);
    // The log stays as it is, although the server may be gone by then.
    EXPECT_EQ(::sqlite3_db_config(connection_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr),
              SQLITE_OK);
    EXPECT_EQ(::sqlite3_exec(connection_, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  }
  ~StoreLock() { ::sqlite3_close(connection_); }
  StoreLock(const StoreLock&) = delete;
  StoreLock& operator=(const StoreLock&) = delete;

 private:
  sqlite3* connection_ = nullptr;
};

/// How many records of the redo log the tables do not have, while no server runs. Changes nothing.
inline std::uint64_t records_pending(const StoreFiles& store) {
  const TempFolder copy;
  const StoreFiles copied{copy.path()};
  std::filesystem::copy_file(store.database(), copied.database());
  if (std::filesystem::exists(store.tables_log())) {
    std::filesystem::copy_file(store.tables_log(), copied.tables_log());
  }
  std::uint64_t applied = 0;
  sqlite3* connection = nullptr;
  EXPECT_EQ(::sqlite3_open(copied.database().c_str(), &connection), SQLITE_OK);
  const auto take = [](void* into, int, char** values, char**) {
    *static_cast<std::uint64_t*>(into) = std::stoull(values[0]);
    return 0;
  };
  EXPECT_EQ(::sqlite3_exec(connection, "SELECT applied FROM store", take, &applied, nullptr),
            SQLITE_OK);
  ::sqlite3_close(connection);

  std::uint64_t last = applied;
  for (const std::filesystem::path& file : {store.redo_a(), store.redo_b()}) {
    const std::vector<RedoRecordAt> records = redo_records(file);
    if (!records.empty()) last = std::max(last, records.back().number);
  }
  return last - applied;
}

}  // namespace quern
