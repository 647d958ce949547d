#include "queue/local/data_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

namespace quern {
namespace {

std::unexpected<Error> cannot(const std::string& what, const std::filesystem::path& path,
                              int error) {
  return fail(ErrorCode::unavailable,
              "cannot " + what + " " + path.string() + ": " + std::strerror(error));
}

Result<void> make_folder(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return {};
  if (!std::filesystem::create_directories(path, error) && error) {
    return cannot("make the data folder", path, error.value());
  }
  std::filesystem::permissions(path, std::filesystem::perms::owner_all, error);
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  // Best effort: whoever may make entries there may not be allowed to read it.
  static_cast<void>(sync_folder(absolute.parent_path()));
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

}  // namespace

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
  // Inputs and results are private, whatever the process's mask says; SQLite gives its other files the
  // same permissions.
  const std::filesystem::path database_path = database_in(path);
  const int database = ::open(database_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (database < 0) return cannot("open the store", database_path, errno);
  ::close(database);
  return folder;
}

DataFolder::~DataFolder() {
  if (file_ >= 0) ::close(file_);
}

}  // namespace quern
