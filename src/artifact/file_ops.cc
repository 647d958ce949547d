#include "artifact/file_ops.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <system_error>

#include "base/log.h"

namespace quern {

namespace {

constexpr std::size_t kCopyStepBytes = 8U << 20U;
constexpr std::size_t kCopyBufferBytes = 256U << 10U;

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

// For file systems that cannot copy inside the kernel.
Result<void> copy_through_memory(int from, int to, const std::stop_token& stop) {
  std::vector<char> buffer(kCopyBufferBytes);
  while (!stop.stop_requested()) {
    const ssize_t got = ::read(from, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_failure(errno, "reading a file");
    if (got == 0) return {};
    if (auto done = write_all(to, {buffer.data(), static_cast<std::size_t>(got)}); !done) {
      return done;
    }
  }
  return fail(ErrorCode::unavailable, "stopped");
}

bool is_kernel_copy_refusal(int error) {
  return error == EXDEV || error == EINVAL || error == ENOSYS || error == EOPNOTSUPP ||
         error == EPERM;
}

FileDescriptor open_folder_to_clear(int parent, const std::string& name) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  FileDescriptor folder(::openat(parent, name.c_str(), kFlags));
  if (folder.is_open()) {
    ::fchmod(folder.get(), S_IRWXU);
    return folder;
  }
  if (errno != EACCES) return folder;
  // Without read permission it cannot be opened to change it; it is a folder of our own, so its
  // name can.
  ::fchmodat(parent, name.c_str(), S_IRWXU, 0);
  return FileDescriptor(::openat(parent, name.c_str(), kFlags));
}

bool move_up(int folder, const std::string& name, int top, std::uint64_t& moved) {
  do {
    const std::string free_name = ".removing-" + std::to_string(moved++);
    if (::renameat(folder, name.c_str(), top, free_name.c_str()) == 0) return true;
  } while (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR);
  return false;
}

// Empties one folder: files are unlinked, folders in it are moved up to `top` for their own turn.
// So neither recursion nor an open descriptor for each level is needed.
bool flatten(int folder, int top, std::uint64_t& moved) {
  bool all = true;
  for (const std::string& name : list_folder(folder)) {
    if (::unlinkat(folder, name.c_str(), 0) == 0 || errno == ENOENT) continue;
    open_folder_to_clear(folder,
                         name);  // moving a folder rewrites its "..": that needs write permission
    all = move_up(folder, name, top, moved) && all;
  }
  return all;
}

/// A file, a link, or a folder with nothing in it.
bool remove_at_once(int parent, const std::string& name) {
  return ::unlinkat(parent, name.c_str(), 0) == 0 ||
         (errno == EISDIR && ::unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0);
}

bool flatten_into(int top, const std::string& name, std::uint64_t& moved) {
  const FileDescriptor folder = open_folder_to_clear(top, name);
  return folder.is_open() && flatten(folder.get(), top, moved);
}

bool empty_tree(int parent, const std::string& name) {
  const FileDescriptor top = open_folder_to_clear(parent, name);
  if (!top.is_open()) return false;
  std::uint64_t moved = 0;
  std::vector<std::string> entries = list_folder(top.get());
  while (!entries.empty()) {
    for (const std::string& entry : entries) {
      if (remove_at_once(top.get(), entry)) continue;
      if (!flatten_into(top.get(), entry, moved)) return false;
      if (::unlinkat(top.get(), entry.c_str(), AT_REMOVEDIR) != 0) return false;
    }
    entries = list_folder(top.get());
  }
  return true;
}

Result<void> write_new(const std::filesystem::path& path, std::string_view text) {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
  ::unlink(path.c_str());  // left by a crash: whose it was, and who may read it, is not known
  const FileDescriptor file(::open(path.c_str(), kFlags, S_IRUSR | S_IWUSR));
  if (!file.is_open()) return io_failure(errno, "making a file");
  if (Result<void> written = write_all(file.get(), text); !written) return written;
  return sync(file.get());
}

}  // namespace

std::unexpected<Error> io_failure(int error, std::string_view what) {
  std::string message(what);
  if (error == ENOSPC || error == EDQUOT) {
    return fail(ErrorCode::unavailable, message + ": the disk is full", kDiskFullRetryAfter);
  }
  return fail(ErrorCode::unavailable, message + ": " + std::generic_category().message(error),
              is_shortage(error) ? kShortageRetryAfter : std::chrono::milliseconds{0});
}

bool is_shortage(int error) {
  return error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE;
}

bool is_passing(int error) {
  constexpr std::array kOfTheDisk{ENOSPC, EDQUOT, EIO, EROFS};
  return is_shortage(error) || std::ranges::find(kOfTheDisk, error) != kOfTheDisk.end();
}

Result<void> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return io_failure(errno, "writing a file");
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<void> copy_all(int from, int to, std::stop_token stop) {
  while (!stop.stop_requested()) {
    const ssize_t copied = ::copy_file_range(from, nullptr, to, nullptr, kCopyStepBytes, 0);
    if (copied < 0 && errno == EINTR) continue;
    if (copied < 0 && is_kernel_copy_refusal(errno)) return copy_through_memory(from, to, stop);
    if (copied < 0) return io_failure(errno, "copying a file");
    if (copied == 0) return {};
  }
  return fail(ErrorCode::unavailable, "stopped");
}

Result<void> sync(int fd) {
  if (::fsync(fd) != 0) return io_failure(errno, "syncing to disk");
  return {};
}

Result<void> replace_file(const std::filesystem::path& path, std::string_view text) {
  std::filesystem::path fresh = path;
  fresh += ".new";
  if (Result<void> written = write_new(fresh, text); !written) {
    ::unlink(fresh.c_str());
    return written;
  }
  if (::rename(fresh.c_str(), path.c_str()) != 0) return io_failure(errno, "renaming a file");
  Result<FileDescriptor> folder = make_folder(path.parent_path());
  if (!folder) return fail(std::move(folder));
  return sync(folder->get());
}

Result<FileDescriptor> make_folder(const std::filesystem::path& path) {
  if (::mkdir(path.c_str(), S_IRWXU) != 0 && errno != EEXIST) {
    return io_failure(errno, "making " + path.string());
  }
  FileDescriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder.is_open()) return io_failure(errno, "opening " + path.string());
  return folder;
}

void clear_folder(const FileDescriptor& folder) {
  for (const std::string& name : list_folder(folder.get())) {
    if (!remove_tree(folder.get(), name)) {
      log_warn("a left-over work file cannot be removed", {{"name", name}});
    }
  }
}

std::optional<std::vector<std::string>> read_folder(int folder) {
  // A description of its own, so that the position of `folder` does not matter.
  const int copy = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return std::nullopt;
  const std::unique_ptr<DIR, CloseFolder> entries(::fdopendir(copy));
  if (!entries) {
    ::close(copy);
    return std::nullopt;
  }
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(entries.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return std::nullopt;
  return names;
}

std::vector<std::string> list_folder(int folder) {
  return read_folder(folder).value_or(std::vector<std::string>{});
}

bool empty_folder(int folder) {
  const std::optional<std::vector<std::string>> names = read_folder(folder);
  return names && std::all_of(names->begin(), names->end(),
                              [&](const std::string& name) { return remove_tree(folder, name); });
}

bool remove_tree(int parent, const std::string& name) {
  if (remove_at_once(parent, name) || errno == ENOENT) return true;
  return empty_tree(parent, name) && ::unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0;
}

}  // namespace quern
