#pragma once
// Output files and uploads: kept in `<data>/files/<2 hex>/<32 hex>/<file_name>` and `<data>/uploads/…`, found by
// the 32 digits of their key alone, of which the folder before is the first two.
//
// Everything here may block on the disk: call it from runner threads and the blocking pool, never
// from an I/O thread.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "artifact/media_measures.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "task/task.h"

namespace quern {

/// The folders of one attempt, made empty, readable by the owner only.
struct AttemptFolders {
  std::filesystem::path root;    // <data>/work/<task id>-<lease token>
  std::filesystem::path output;  // root/output: where the runner writes
  std::filesystem::path input;   // root/input: files that stand for URLs in the input
  std::filesystem::path temp;    // root/tmp: the runner's TMPDIR
};

/// A file that is being served.
struct OpenFile {
  int fd = -1;  // the caller closes it
  std::uint64_t bytes = 0;
  std::string content_type;
  std::string etag;  // strong, with its quotes
  WallTime modified;
};

/// A file that grows as its bytes arrive; it is kept only if finished.
class Upload {
 public:
  virtual ~Upload() = default;
  /// Errors: too_large, unavailable (disk full).
  virtual Result<void> write(std::string_view bytes) = 0;
  /// Durable on return. The content type is told from the content. Replaces an earlier upload under
  /// the same key.
  virtual Result<Output> finish() = 0;
};

/// Durability: what adopt() and finish() returned survives kill -9 and power loss.
/// Threads: any.
class ArtifactStore {
 public:
  static constexpr std::size_t kProbeBytes = 1024 * 1024;

  /// Makes the folders if missing, and removes the work folders and unfinished uploads of an
  /// earlier run. One store per data folder: open the queue first, which holds the folder's lock.
  /// `measure` finds the measures of what is adopted.
  /// Errors: unavailable.
  static Result<std::unique_ptr<ArtifactStore>> open(const std::filesystem::path& data,
                                                     Random& random,
                                                     MeasureMedia measure = measure_media);
  ~ArtifactStore();

  /// Of an attempt alone: a task that is retried begins again with attempt 1, and the folders of its
  /// last one may still be there.
  Result<AttemptFolders> make_folders(const TaskId& task, std::uint64_t lease_token);
  /// With all that is in them; nothing for the empty ones of an executor that uses no files.
  void remove_folders(const AttemptFolders& folders);
  /// The disk has no room for even a small file, of kProbeBytes.
  [[nodiscard]] bool is_full() const;

  /// Moves the file at `path`, relative to folders.output, into the store; fills in key, name,
  /// content type, size, width, height and duration (by content). An absolute path is taken if it
  /// leads into folders.output, a link if its target lies there. The file's name gets an extension
  /// if it has none. folders.output and what is above it are found from the store's own folder, by
  /// no link. Errors, with messages for the caller that name `path` at most: invalid_argument
  /// (missing, not a regular file, outside of the folder, also by links, a file with other hard
  /// links, or the folder is gone or none any more), unavailable.
  /// Once `stop` is asked for, a file that has still to be measured or to be copied is not kept: unavailable.
  Result<Output> adopt(const AttemptFolders& folders, std::string_view path, OutputType type,
                       const std::stop_token& stop = {});

  /// Reads the file at `path`, found as adopt() finds it, for outputs that are text. Errors: as
  /// adopt(), and too_large.
  Result<std::string> read_output(const AttemptFolders& folders, std::string_view path,
                                  std::uint64_t bytes_max) const;

  /// Starts a file under a fresh key, or under `file_key` (32 lower-case hex characters) if given;
  /// then its name is exactly safe_file_name(file_name), since the URL is known already, else it
  /// gets an extension if it has none. Errors: invalid_argument (the key), unavailable. The store
  /// outlives the upload.
  Result<std::unique_ptr<Upload>> start_upload(std::string_view file_name, std::uint64_t bytes_max,
                                               std::optional<std::string> file_key = std::nullopt);

  /// Errors: not_found (also for every malformed key or name), unavailable.
  Result<OpenFile> open_file(std::string_view file_key, std::string_view file_name) const;
  /// The file's place on this machine, for runners. Errors: as open_file().
  Result<std::filesystem::path> find_path(std::string_view file_key,
                                          std::string_view file_name) const;

  /// To sweep_outputs() they are as new as if adopted now: for those whose task is not stored yet.
  /// Missing ones are passed over.
  void touch(std::span<const Output> outputs);
  /// Missing ones are passed over. A file being served stays readable for who has it open.
  void remove(std::span<const Output> outputs);
  /// Uploads last written before `before`: their lifetime is over. Removes at most `count_max`;
  /// returns how many.
  std::size_t sweep_uploads(WallTime before, std::size_t count_max);
  /// Output files last written before `before`: left by attempts that were never finished, when
  /// `before` is older than any task that is kept. Removes at most `count_max`; returns how many.
  std::size_t sweep_outputs(WallTime before, std::size_t count_max);

 private:
  struct Impl;
  explicit ArtifactStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quern
