#pragma once
// Small operations on files whose failures are told by what ran out.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "artifact/file_descriptor.h"
#include "base/result.h"

namespace quern {

/// The `retry_after` of what failed by is_shortage(), and of no other failure of a file.
inline constexpr std::chrono::milliseconds kShortageRetryAfter{1'000};

/// The `retry_after` of what failed because the disk is full.
inline constexpr std::chrono::milliseconds kDiskFullRetryAfter{10'000};

/// What failed for the reason `error` (an errno), as `unavailable`: "<what>: the disk is full".
/// Names no path. Tells a `retry_after` if the disk is full or is_shortage(error), else none.
std::unexpected<Error> io_failure(int error, std::string_view what);

/// Whether what failed for the reason `error` failed only because the machine is short of
/// descriptors, memory or processes.
bool is_shortage(int error);

/// Whether what failed for the reason `error` may go well later though nothing about it changes: the
/// disk is full or in trouble, or the machine is short of something.
bool is_passing(int error);

/// Errors: unavailable.
Result<void> write_all(int fd, std::string_view bytes);
/// Copies from the current position of `from` to its end, inside the kernel where it can. Stops
/// between steps of a few MiB once `stop` is asked for. Errors: unavailable.
Result<void> copy_all(int from, int to, std::stop_token stop = {});
/// Makes the file's bytes, or the folder's entries, survive power loss. Errors: unavailable.
Result<void> sync(int fd);

/// Writes `text` into the file at `path`, for its owner only: whatever happens, it is the old file or
/// the new one. Uses `<path>.new` meanwhile. Survives power loss. Errors: unavailable.
Result<void> replace_file(const std::filesystem::path& path, std::string_view text);

/// Opens the folder at `path`, which is made if missing, for its owner only. Errors: unavailable.
Result<FileDescriptor> make_folder(const std::filesystem::path& path);
/// Removes all that is in the folder; what cannot be removed is logged.
void clear_folder(const FileDescriptor& folder);

/// Names in a folder without "." and "..", in no order; nothing if it cannot be read.
std::optional<std::vector<std::string>> read_folder(int folder);
/// The same, but a folder that cannot be read counts as empty.
std::vector<std::string> list_folder(int folder);
/// Removes all that is in the folder. Returns false if something is left or may be.
bool empty_folder(int folder);

/// Removes `name` in the folder `parent` and all below it, following no link. Works on trees of any
/// depth with a handful of descriptors, and on folders that their maker closed to himself. Returns
/// false if something is left.
bool remove_tree(int parent, const std::string& name);

}  // namespace quern
