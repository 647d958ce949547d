#pragma once
// What a test tells the fault library inside a server: one page of memory that both map from a file.

#include <atomic>
#include <cstdint>

namespace quern {

/// The environment variable that names the file.
inline constexpr const char* kFaultBoardVariable = "QUERN_TEST_FAULT_BOARD";

/// Errors are errno values; 0: no fault. "The store" is its tables, which are queue.sqlite and SQLite's
/// log of it, and its redo log, which is redo-a and redo-b.
struct FaultBoard {
  std::atomic<int> write_error;         // of every write to the store
  std::atomic<int> tables_write_error;  // of writes to the tables alone
  std::atomic<int>
      tables_portion_error;              // of what is to reach the disk before a sync of the tables
  std::atomic<int> sync_error;           // of every sync of the store, after a write that went well
  std::atomic<int> database_sync_error;  // of syncs of queue.sqlite alone
  std::atomic<int> redo_sync_error;      // of syncs of the redo log alone
  std::atomic<int> start_error;          // of every start of a runner's process
  std::atomic<int> thread_error;         // of every new thread
  std::atomic<int> descriptor_error;     // of every new descriptor: pipes, connections, files
  std::atomic<std::int64_t> clock_ahead_seconds;  // of the wall clock
  std::atomic<std::uint64_t> faults;              // calls that failed so far
};
static_assert(std::atomic<std::int64_t>::is_always_lock_free);

}  // namespace quern
