#pragma once
// The folders that attempts work in, each made empty, and removed with whatever is left in it.
//
// A few are kept ready under other names: a file system takes a tenth of a millisecond for each folder it makes, and the
// slot that has come free waits for four.

#include <filesystem>
#include <memory>
#include <mutex>
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
  /// Also makes one ready if there are too few: afterwards there is time.
  void remove(const std::string& name);

 private:
  WorkFolders(const std::filesystem::path& path, FileDescriptor folder);
  [[nodiscard]] AttemptFolders folders_of(const std::string& name) const;
  Result<void> make_new(const std::string& name);
  bool take_spare(const std::string& name);
  void add_spare();

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
