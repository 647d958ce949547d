#pragma once
// The store's tables, on SQLite in WAL mode: the writing side.
//
// The redo log makes a change durable; the tables take many transactions of it at a time, without a
// sync: a power cut may take back the last of them, never one without those after it, and the log
// still has them. They say themselves how far they have come (schema.h).
// Threads: one at a time. Readers have their own connections (table_lookups.h, journal_reader.h).

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>

#include "base/result.h"
#include "queue/local/pending.h"

namespace quern {

class Tables {
 public:
  /// Makes the tables, or brings those of an older version up to date; else changes nothing, and until the first
  /// settle() its end does not either: whoever refuses a damaged store leaves it as it was. Errors: unavailable (cannot
  /// be opened), data_loss (damaged, or empty beside a redo log that is not), conflict (made by a newer version).
  static Result<std::unique_ptr<Tables>> open(const std::filesystem::path& file);
  ~Tables();
  Tables(const Tables&) = delete;
  Tables& operator=(const Tables&) = delete;

  /// Brings the tables up to record `number`: all of `pending`, or nothing of it.
  Result<void> apply(const Pending& pending, std::uint64_t number);
  /// Pages in SQLite's write-ahead log.
  [[nodiscard]] std::size_t log_pages() const;
  /// Moves the write-ahead log into the database, durably. Answers whether all of it: then whatever
  /// was applied is there to stay; else a reader still needs the rest where it is.
  Result<bool> checkpoint();
  /// Before anything is built upon what an earlier run left: moves it all into the database, anew.
  ///
  /// It may be in the machine's memory only: once a sync has failed, the system takes pages for
  /// written that never reached the disk. Waits for readers.
  Result<void> settle();
  [[nodiscard]] std::size_t cache_bytes() const;

 private:
  struct Impl;
  explicit Tables(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quern
