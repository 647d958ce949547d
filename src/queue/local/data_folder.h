#pragma once
// The folder that a queue lives in, held by one process at a time.

#include <filesystem>
#include <utility>

#include "base/result.h"

namespace quern {

/// The file of the store's tables; beside it are SQLite's own log and the redo log.
inline std::filesystem::path database_in(const std::filesystem::path& folder) {
  return folder / "queue.sqlite";
}

/// Makes that file, readable by its owner only, if it is not there.
///
/// Without it, or with an empty one, SQLite would begin a new store and throw away what the logs beside
/// it hold. Then nothing is changed. Errors: unavailable (cannot be made, a log cannot be read),
/// data_loss (a log holds something, but it is missing or empty).
Result<void> make_database(const std::filesystem::path& folder);

/// Before tables are made in that file, which has none: the redo log's first record comes after them.
/// Errors: as make_database().
Result<void> check_no_tables_lost(const std::filesystem::path& folder);

/// A new entry of a folder survives power loss only when the folder itself is synced. Answers an errno;
/// 0: it is.
int sync_folder(const std::filesystem::path& path);

/// Holds the folder until it goes; the operating system lets go of it when the process dies.
class DataFolder {
 public:
  /// Makes the folder, readable by its owner only, if it is not there.
  /// Errors: unavailable (cannot be made), conflict ("data folder … is in use by process N").
  static Result<DataFolder> lock(const std::filesystem::path& path);

  DataFolder(DataFolder&& other) noexcept
      : path_(std::move(other.path_)), file_(std::exchange(other.file_, -1)) {}
  DataFolder& operator=(DataFolder&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(file_, other.file_);
    return *this;
  }
  ~DataFolder();

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  DataFolder(std::filesystem::path path, int file) : path_(std::move(path)), file_(file) {}

  std::filesystem::path path_;
  int file_ = -1;  // the lock file's descriptor
};

}  // namespace quern
