#include "artifact/output_path.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>

#include "artifact/file_ops.h"

namespace quern {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kQuotedBytesMax = 200;

std::unexpected<Error> refuse(std::string_view path, std::string_view why) {
  std::string message = "output \"";
  message += path.substr(0, kQuotedBytesMax);
  message += path.size() > kQuotedBytesMax ? "…\" " : "\" ";
  message += why;
  return fail(ErrorCode::invalid_argument, std::move(message));
}

// What is no passing trouble of this machine is the doing of whoever named the path.
std::unexpected<Error> refuse(std::string_view path, int error) {
  if (is_passing(error)) return io_failure(error, "opening an output");
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return refuse(path, "does not exist in the output folder");
    case ELOOP:
      return refuse(path, "is a loop of links");
    case ENAMETOOLONG:
      return refuse(path, "is too long a path");
    default:
      return refuse(path, "cannot be read");
  }
}

/// `target` relative to `root`, both without links; nullopt if it is not below.
std::optional<fs::path> below(const fs::path& root, const fs::path& target) {
  const auto [r, t] = std::mismatch(root.begin(), root.end(), target.begin(), target.end());
  if (r != root.end() || t == target.end()) return std::nullopt;
  fs::path relative;
  for (auto part = t; part != target.end(); ++part) relative /= *part;
  return relative;
}

/// Opens the folder that holds `relative`, through no link: links were resolved before, so one
/// that stands there now was put there to lead us astray.
FileDescriptor open_parent(int root, const fs::path& relative) {
  FileDescriptor folder(::openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (const fs::path& part : relative.parent_path()) {
    if (!folder.is_open()) break;
    folder = FileDescriptor(
        ::openat(folder.get(), part.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  }
  return folder;
}

}  // namespace

Result<RunnerFile> open_runner_file(int folder, std::string_view path) {
  if (path.empty() || path.find('\0') != std::string_view::npos) {
    return refuse(path, "is not a path");
  }
  std::error_code error;
  // Where the folder lies, and where in it the file: names that show a way, and may lead elsewhere by
  // the next moment. What is opened is reached from `folder` itself.
  const fs::path root = fs::read_symlink(fmt::format("/proc/self/fd/{}", folder), error);
  if (error) return refuse(path, error.value());
  const fs::path target = fs::canonical(root / path, error);
  if (error) return refuse(path, error.value());
  const std::optional<fs::path> relative = below(root, target);
  if (!relative) return refuse(path, "is not inside the output folder");

  RunnerFile found;
  found.folder = open_parent(folder, *relative);
  if (!found.folder.is_open()) return refuse(path, errno);
  found.name = relative->filename();
  // Looked at before it is opened: opening a device may do something.
  if (::fstatat(found.folder.get(), found.name.c_str(), &found.status, AT_SYMLINK_NOFOLLOW) != 0) {
    return refuse(path, errno);
  }
  if (!S_ISREG(found.status.st_mode)) return refuse(path, "is not a regular file");
  found.file = FileDescriptor(::openat(found.folder.get(), found.name.c_str(),
                                       O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!found.file.is_open() || ::fstat(found.file.get(), &found.status) != 0) {
    return refuse(path, errno);
  }
  if (!S_ISREG(found.status.st_mode)) return refuse(path, "is not a regular file");
  if (found.status.st_nlink > 1) return refuse(path, "has other hard links");
  return found;
}

}  // namespace quern
