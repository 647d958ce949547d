#pragma once
// Finds the file that a runner names, strictly inside the folder that it was given.

#include <sys/stat.h>

#include <string>
#include <string_view>

#include "artifact/file_descriptor.h"
#include "base/result.h"

namespace quern {

struct RunnerFile {
  FileDescriptor file;    // open for reading
  FileDescriptor folder;  // where it lies
  std::string name;       // in `folder`, links resolved
  struct stat status{};
};

/// Opens the regular file at `path`, relative to the open folder `folder` or absolute. Links are
/// followed as long as the file lies in `folder`. The program that wrote the files may still run and
/// swap them, and the folders above them: what is opened is what was checked. Errors:
/// invalid_argument (missing, outside, not a regular file, or with other hard links: what it holds
/// could be changed, or could be another's), unavailable. Messages quote `path` as given and nothing
/// else of this machine.
Result<RunnerFile> open_runner_file(int folder, std::string_view path);

}  // namespace quern
