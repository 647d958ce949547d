#include "artifact/key_folders.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>

#include "artifact/file_ops.h"

namespace quern {

namespace {

constexpr std::size_t kKeyDigits = 32;
constexpr std::size_t kShardDigits = 2;
constexpr unsigned kShards = 256;
constexpr int kOpenFolder = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr std::string_view kStoring = "storing a file";

std::string shard_name(unsigned shard) { return fmt::format("{:02x}", shard); }

std::optional<unsigned> parse_shard(std::string_view name) {
  unsigned shard = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), shard, 16);
  const bool is_whole = error == std::errc() && end == name.data() + name.size();
  return is_whole && shard < kShards && name == shard_name(shard) ? std::optional(shard)
                                                                  : std::nullopt;
}

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
  for (const std::string& name : list_folder(folders.folder_.get())) {
    if (const auto shard = parse_shard(name)) folders.guarded_->durable_shards.set(*shard);
  }
  if (auto synced = sync(folders.folder_.get()); !synced) return fail(std::move(synced));
  return folders;
}

// A file is durable only if the folders above it are: the first to need one waits for that, and so
// does who comes meanwhile.
Result<void> KeyFolders::make_shard(const std::string& name) {
  const unsigned shard = parse_shard(name).value();
  const std::scoped_lock lock(guarded_->shard_mutex);
  if (guarded_->durable_shards.test(shard)) return {};
  if (!make_if_missing(folder_.get(), name.c_str())) return io_failure(errno, kStoring);
  auto synced = sync(folder_.get());
  if (synced) guarded_->durable_shards.set(shard);
  return synced;
}

FileDescriptor KeyFolders::open_shard(std::string_view key) const {
  return FileDescriptor(
      ::openat(folder_.get(), std::string(key.substr(0, kShardDigits)).c_str(), kOpenFolder));
}

Result<KeyFolders::Folder> KeyFolders::make_folder(const std::string& key) {
  if (auto made = make_shard(key.substr(0, kShardDigits)); !made) return fail(std::move(made));
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
    const std::scoped_lock lock(guarded_->publish_mutex);
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

Result<FileDescriptor> KeyFolders::open_file(const std::string& key,
                                             const std::string& name) const {
  const std::string place = key.substr(0, kShardDigits) + "/" + key + "/" + name;
  FileDescriptor file(
      ::openat(folder_.get(), place.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file.is_open() && is_passing(errno)) return io_failure(errno, "opening a file");
  struct stat status{};
  const bool is_file =
      file.is_open() && ::fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode);
  if (!is_file) return fail(ErrorCode::not_found, "no such file");
  return file;
}

std::filesystem::path KeyFolders::path_of(std::string_view key, std::string_view name) const {
  return root_ / key.substr(0, kShardDigits) / key / name;
}

bool KeyFolders::remove(const std::string& key) {
  const FileDescriptor shard = open_shard(key);
  struct stat status{};
  if (::fstatat(shard.get(), key.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return false;
  remove_tree(shard.get(), key);
  return true;
}

void KeyFolders::touch(const std::string& key) {
  const FileDescriptor shard = open_shard(key);
  const std::scoped_lock lock(guarded_->publish_mutex);
  ::utimensat(shard.get(), key.c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
}

std::size_t KeyFolders::sweep_shard(unsigned shard, WallTime before, std::size_t count_max) {
  const FileDescriptor folder(::openat(folder_.get(), shard_name(shard).c_str(), kOpenFolder));
  if (!folder.is_open()) return 0;
  std::size_t removed = 0;
  for (const std::string& key : list_folder(folder.get())) {
    if (removed == count_max) break;
    if (!is_older(folder.get(), key, before)) continue;
    const std::scoped_lock lock(guarded_->publish_mutex);
    const bool is_still_older = is_older(folder.get(), key, before);
    if (is_still_older && remove_tree(folder.get(), key)) ++removed;
  }
  return removed;
}

std::size_t KeyFolders::sweep(WallTime before, std::size_t count_max) {
  const auto next_shard = [this](unsigned step) {
    const std::scoped_lock lock(guarded_->shard_mutex);
    guarded_->next_shard = (guarded_->next_shard + step) % kShards;
    return guarded_->next_shard;
  };
  unsigned shard = next_shard(0);
  std::size_t removed = 0;
  for (unsigned visited = 0; visited < kShards; ++visited) {
    removed += sweep_shard(shard, before, count_max - removed);
    if (removed == count_max) break;
    shard = next_shard(1);
  }
  return removed;
}

}  // namespace quern
