#include "artifact/key_folders.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "artifact/file_ops.h"

namespace quern {

namespace {

constexpr std::size_t kKeyDigits = 32;
constexpr unsigned kShards = 256;
constexpr int kOpenFolder = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr std::string_view kStoring = "storing a file";

std::string shard_name(unsigned shard) { return fmt::format("{:02x}", shard); }

bool make_if_missing(int parent, const char* name) {
  return ::mkdirat(parent, name, S_IRWXU) == 0 || errno == EEXIST;
}

WallTime modified_at(const struct stat& status) {
  return WallTime{std::chrono::seconds{status.st_mtim.tv_sec} +
                  std::chrono::duration_cast<std::chrono::microseconds>(
                      std::chrono::nanoseconds{status.st_mtim.tv_nsec})};
}

bool is_older(int shard, const std::string& key, WallTime before) {
  struct stat status{};
  return ::fstatat(shard, key.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
         modified_at(status) < before;
}

}  // namespace

bool is_file_key(std::string_view text) {
  return text.size() == kKeyDigits && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

Result<KeyFolders> KeyFolders::open(const std::filesystem::path& root) {
  KeyFolders folders;
  folders.root_ = root;
  if (!make_if_missing(AT_FDCWD, root.c_str())) return io_failure(errno, "making " + root.string());
  folders.folder_ = FileDescriptor(::open(root.c_str(), kOpenFolder));
  if (!folders.folder_.is_open()) return io_failure(errno, "opening " + root.string());
  // All at once, so that no file's durability hangs on a subfolder that another thread just made.
  for (unsigned shard = 0; shard < kShards; ++shard) {
    if (!make_if_missing(folders.folder_.get(), shard_name(shard).c_str())) {
      return io_failure(errno, "making folders in " + root.string());
    }
  }
  if (auto synced = sync(folders.folder_.get()); !synced) return fail(std::move(synced));
  return folders;
}

FileDescriptor KeyFolders::open_shard(std::string_view key) const {
  return FileDescriptor(
      ::openat(folder_.get(), std::string(key.substr(0, 2)).c_str(), kOpenFolder));
}

Result<KeyFolders::Folder> KeyFolders::make_folder(const std::string& key) {
  Folder folder{.shard = open_shard(key), .key = {}};
  if (!folder.shard.is_open() || !make_if_missing(folder.shard.get(), key.c_str())) {
    return io_failure(errno, kStoring);
  }
  folder.key = FileDescriptor(::openat(folder.shard.get(), key.c_str(), kOpenFolder));
  if (!folder.key.is_open()) return io_failure(errno, kStoring);
  return folder;
}

Result<void> KeyFolders::sync_folder(const Folder& folder) {
  if (auto synced = sync(folder.key.get()); !synced) return synced;
  return sync(folder.shard.get());
}

Result<void> KeyFolders::link_file(int fd, const std::string& key, const std::string& name) {
  Result<Folder> folder = make_folder(key);
  if (!folder) return fail(std::move(folder));
  const std::string open_file = fmt::format("/proc/self/fd/{}", fd);
  if (::linkat(AT_FDCWD, open_file.c_str(), folder->key.get(), name.c_str(), AT_SYMLINK_FOLLOW) !=
      0) {
    const int error = errno;
    remove(key);
    return io_failure(error, kStoring);
  }
  auto synced = sync_folder(*folder);
  if (!synced) remove(key);
  return synced;
}

Result<void> KeyFolders::move_file(int from, const std::string& from_name, const std::string& key,
                                   const std::string& name) {
  Result<Folder> folder = [&]() -> Result<Folder> {
    const std::scoped_lock lock(*mutex_);
    Result<Folder> made = make_folder(key);
    if (!made) return made;
    if (::renameat(from, from_name.c_str(), made->key.get(), name.c_str()) != 0) {
      const int error = errno;
      ::unlinkat(made->shard.get(), key.c_str(), AT_REMOVEDIR);  // only if it was made just now
      return io_failure(error, kStoring);
    }
    for (const std::string& other : list_folder(made->key.get())) {
      if (other != name) ::unlinkat(made->key.get(), other.c_str(), 0);
    }
    return made;
  }();
  if (!folder) return fail(std::move(folder));
  return sync_folder(*folder);
}

FileDescriptor KeyFolders::open_file(const std::string& key, const std::string& name) const {
  const std::string place = key.substr(0, 2) + "/" + key + "/" + name;
  FileDescriptor file(
      ::openat(folder_.get(), place.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat status{};
  const bool is_file =
      file.is_open() && ::fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode);
  return is_file ? std::move(file) : FileDescriptor();
}

std::filesystem::path KeyFolders::path_of(std::string_view key, std::string_view name) const {
  return root_ / key.substr(0, 2) / key / name;
}

bool KeyFolders::remove(const std::string& key) {
  const FileDescriptor shard = open_shard(key);
  struct stat status{};
  if (::fstatat(shard.get(), key.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return false;
  remove_tree(shard.get(), key);
  return true;
}

std::size_t KeyFolders::sweep_shard(unsigned shard, WallTime before, std::size_t count_max) {
  const FileDescriptor folder(::openat(folder_.get(), shard_name(shard).c_str(), kOpenFolder));
  if (!folder.is_open()) return 0;
  std::size_t removed = 0;
  for (const std::string& key : list_folder(folder.get())) {
    if (removed == count_max) break;
    if (!is_older(folder.get(), key, before)) continue;
    const std::scoped_lock lock(*mutex_);
    const bool is_still_older = is_older(folder.get(), key, before);
    if (is_still_older && remove_tree(folder.get(), key)) ++removed;
  }
  return removed;
}

std::size_t KeyFolders::sweep(WallTime before, std::size_t count_max) {
  unsigned shard = 0;
  {
    const std::scoped_lock lock(*mutex_);
    shard = next_shard_;
  }
  std::size_t removed = 0;
  for (unsigned visited = 0; visited < kShards && removed < count_max; ++visited) {
    removed += sweep_shard(shard, before, count_max - removed);
    if (removed < count_max) shard = (shard + 1) % kShards;
  }
  const std::scoped_lock lock(*mutex_);
  next_shard_ = shard;
  return removed;
}

}  // namespace quern
