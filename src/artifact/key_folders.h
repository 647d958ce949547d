#pragma once
// Folders named by unguessable keys: <root>/<first two digits>/<32 hex digits>/<one file>.

#include <bitset>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "artifact/file_descriptor.h"
#include "base/clock.h"
#include "base/result.h"

namespace quern {

/// 32 lower-case hex digits.
[[nodiscard]] bool is_file_key(std::string_view text);

/// The keys and names given to these functions are well-formed: is_file_key() and safe_file_name()
/// say so. Threads: any.
class KeyFolders {
 public:
  /// Makes `root` if missing; the 256 subfolders come as they are needed. Errors: unavailable.
  static Result<KeyFolders> open(const std::filesystem::path& root);

  /// Gives the open file `fd` the place key/name by a hard link to what is open, whatever its old
  /// name leads to by now. The file itself is synced before; on return its place is, too. Errors:
  /// unavailable, and nothing is left behind.
  Result<void> link_file(int fd, const std::string& key, const std::string& name);
  /// Moves `from_name` in the folder `from` to key/name at once, in place of whatever was under
  /// that key. Durability and errors as above; `from_name` stays if it fails.
  Result<void> move_file(int from, const std::string& from_name, const std::string& key,
                         const std::string& name);

  /// Errors: not_found (no such regular file), unavailable.
  [[nodiscard]] Result<FileDescriptor> open_file(const std::string& key,
                                                 const std::string& name) const;
  [[nodiscard]] std::filesystem::path path_of(std::string_view key, std::string_view name) const;

  /// False if there is no such key.
  bool remove(const std::string& key);
  /// As if the key had been written now; nothing if there is none.
  void touch(const std::string& key);
  /// Removes at most `count_max` keys last written before `before`; returns how many. The next
  /// sweep goes on where this one ended.
  std::size_t sweep(WallTime before, std::size_t count_max);

 private:
  /// The two folders on the way to a key's file.
  struct Folder {
    FileDescriptor shard;
    FileDescriptor key;
  };
  Result<Folder> make_folder(const std::string& key);
  Result<void> make_shard(const std::string& name);
  [[nodiscard]] FileDescriptor open_shard(std::string_view key) const;
  std::size_t sweep_shard(unsigned shard, WallTime before, std::size_t count_max);
  static Result<void> sync_folder(const Folder& folder);

  std::filesystem::path root_;
  FileDescriptor folder_;
  struct Guarded {
    std::mutex publish_mutex;  // no folder is swept between its making and its filling, no two
                               // writers of one key mix
    std::mutex shard_mutex;    // guards durable_shards and next_shard; taken last
    std::bitset<256> durable_shards;  // made and synced: files in them need not care
    unsigned next_shard = 0;          // where the next sweep begins
  };
  std::unique_ptr<Guarded> guarded_ = std::make_unique<Guarded>();  // so that this class can move
};

}  // namespace quern
