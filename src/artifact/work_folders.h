#pragma once
// The folders that attempts work in: each is as new when it is given out, and gone with whatever is
// left in it afterwards.
//
// A few are kept ready under other names. A file system takes a tenth of a millisecond for each
// folder that it makes, and up to one for each that it removes, in which commits wait for the disk
// as well; so those that are as they were made are emptied and used again.

#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "artifact/artifact_store.h"
#include "artifact/file_descriptor.h"
#include "base/result.h"

namespace quern {

/// Threads: any.
class WorkFolders {
 public:
  /// Makes `path` if missing, and empties it. Errors: unavailable.
  static Result<WorkFolders> open(const std::filesystem::path& path);

  /// `name`: a path segment that no folder in use has. What an earlier folder of that name held is
  /// gone. Errors: unavailable.
  Result<AttemptFolders> make(const std::string& name);
  /// The output folder of an attempt whose program may have put links in its place or above it; they
  /// are not followed. Errors: invalid_argument (it is gone, or no folder any more), unavailable.
  [[nodiscard]] Result<FileDescriptor> open_output(const std::string& name) const;
  /// When no process of the attempt is left. Also makes one ready if there are too few: afterwards
  /// there is time.
  void remove(const std::string& name);

 private:
  WorkFolders(const std::filesystem::path& path, FileDescriptor folder);
  [[nodiscard]] AttemptFolders folders_of(const std::string& name) const;
  Result<void> make_new(const std::string& name);
  bool take_spare(const std::string& name);
  void add_spare();
  [[nodiscard]] bool make_spare_of(const std::string& name);
  [[nodiscard]] bool restore(const std::string& name) const;
  /// The name for one more, if there are too few.
  std::optional<std::string> next_spare();

  struct Spares {
    std::mutex mutex;  // guards all below
    std::vector<std::string> names;
    unsigned made = 0;  // ever
  };

  std::filesystem::path path_;
  FileDescriptor folder_;
  std::unique_ptr<Spares> spares_ = std::make_unique<Spares>();  // so that this class can move
};

}  // namespace quern
