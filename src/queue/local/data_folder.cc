#include "queue/local/data_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <string>
#include <system_error>

namespace quern {
namespace {

constexpr std::uintmax_t kDatabaseHeaderBytes = 100;  // SQLite's, at the start of its first page

std::unexpected<Error> cannot(const std::string& what, const std::filesystem::path& path,
                              int error) {
  return fail(ErrorCode::unavailable,
              "cannot " + what + " " + path.string() + ": " + std::strerror(error));
}

Result<void> make_folder(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return {};
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  std::filesystem::path there = absolute;
  while (there.has_relative_path() && !std::filesystem::exists(there, error)) {
    there = there.parent_path();
  }
  if (!std::filesystem::create_directories(path, error) && error) {
    return cannot("make the data folder", path, error.value());
  }
  std::filesystem::permissions(path, std::filesystem::perms::owner_all, error);
  for (std::filesystem::path made = absolute; made != there; made = made.parent_path()) {
    // Best effort: whoever may make entries there may not be allowed to read it.
    static_cast<void>(sync_folder(made.parent_path()));
  }
  return {};
}

std::string holder_of(int file) {
  std::array<char, 32> text{};
  const ssize_t size = ::pread(file, text.data(), text.size() - 1, 0);
  std::string holder(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  while (!holder.empty() && holder.back() == '\n') holder.pop_back();
  return holder.empty() ? "another process" : "process " + holder;
}

void write_holder(int file) {
  const std::string text = std::to_string(::getpid()) + "\n";
  // Only for the message of a second process; the lock itself is what counts.
  if (::ftruncate(file, 0) != 0) return;
  static_cast<void>(::pwrite(file, text.data(), text.size(), 0));
}

/// More than zeros, which are written ahead of what will stand there.
Result<bool> holds_something(const std::filesystem::path& log) {
  const int file = ::open(log.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);  // of a pipe, nothing
  if (file < 0 && errno == ENOENT) return false;
  if (file < 0) return cannot("read", log, errno);
  std::array<char, 64 * 1024> bytes{};
  ssize_t size = 0;
  bool found = false;
  do {
    size = ::read(file, bytes.data(), bytes.size());
    if (size > 0) found = std::any_of(bytes.begin(), bytes.begin() + size, std::identity{});
  } while (!found && (size > 0 || (size < 0 && errno == EINTR)));
  const int error = size < 0 ? errno : 0;
  ::close(file);
  if (error != 0) return cannot("read", log, error);
  return found;
}

// A first start that ends at any moment leaves no such folder: the file has SQLite's header before
// there is a log of SQLite's, and all of the tables before the redo log has its first record.
Result<void> check_nothing_lost(const std::filesystem::path& folder,
                                std::initializer_list<const char*> logs) {
  std::string found;
  for (const char* const name : logs) {
    const Result<bool> holds = holds_something(folder / name);
    if (!holds) return std::unexpected(holds.error());
    if (*holds) found += (found.empty() ? "" : ", ") + std::string(name);
  }
  if (found.empty()) return {};
  return fail(ErrorCode::data_loss,
              "queue.sqlite is missing or empty, but not " + found +
                  ": put that very file back; or move the redo log and queue.sqlite-wal away, and "
                  "restore queue.sqlite from a backup or begin anew");
}

}  // namespace

Result<void> make_database(const std::filesystem::path& folder) {
  const std::filesystem::path path = database_in(folder);
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  const bool is_missing = error == std::errc::no_such_file_or_directory;
  if (is_missing || (!error && size < kDatabaseHeaderBytes)) {
    Result<void> kept = check_nothing_lost(folder, {"redo-a", "redo-b", "queue.sqlite-wal"});
    if (!kept) return kept;
  }
  // Inputs and results are private, whatever the process's mask says; SQLite gives its other files the
  // same permissions.
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return cannot("open the store", path, errno);
  ::close(file);
  return {};
}

// SQLite's log is not asked: a first start that was cut short may have left some of the tables there.
Result<void> check_no_tables_lost(const std::filesystem::path& folder) {
  return check_nothing_lost(folder, {"redo-a", "redo-b"});
}

int sync_folder(const std::filesystem::path& path) {
  const int folder = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return errno;
  const int error = ::fsync(folder) == 0 || errno == EINVAL ? 0 : errno;  // EINVAL: it has no such
  ::close(folder);
  return error;
}

Result<DataFolder> DataFolder::lock(const std::filesystem::path& path) {
  if (Result<void> made = make_folder(path); !made) return fail(std::move(made));
  const std::filesystem::path lock_path = path / "lock";
  const int file = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return cannot("open the lock file", lock_path, errno);
  DataFolder folder(path, file);
  if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return cannot("lock", lock_path, errno);
    return fail(ErrorCode::conflict,
                "data folder " + path.string() + " is in use by " + holder_of(file));
  }
  write_holder(file);
  return folder;
}

DataFolder::~DataFolder() {
  if (file_ >= 0) ::close(file_);
}

}  // namespace quern
