#include "artifact/work_folders.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <string_view>
#include <utility>

#include "artifact/file_ops.h"
#include "base/log.h"

namespace quern {
namespace {

constexpr std::size_t kSparesMax = 16;

constexpr const char* kOutput = "output";
constexpr const char* kInput = "input";
constexpr const char* kTemp = "tmp";
constexpr std::array<std::string_view, 3> kParts{kOutput, kInput, kTemp};

// Not open if its attempt has made anything else of it, or changed who may do what there.
FileDescriptor open_as_made(int parent, std::string_view name) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  FileDescriptor folder(::openat(parent, std::string(name).c_str(), kFlags));
  struct statx status{};
  constexpr std::uint64_t kRestraints =
      STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND | STATX_ATTR_MOUNT_ROOT;
  const bool is_as_made =
      folder.is_open() &&
      ::statx(folder.get(), "", AT_EMPTY_PATH, STATX_MODE | STATX_TYPE | STATX_UID, &status) == 0 &&
      status.stx_mode == (S_IFDIR | S_IRWXU) && status.stx_uid == ::geteuid() &&
      (status.stx_attributes & kRestraints) == 0 && ::flistxattr(folder.get(), nullptr, 0) <= 0;
  return is_as_made ? std::move(folder) : FileDescriptor();
}

}  // namespace

Result<WorkFolders> WorkFolders::open(const std::filesystem::path& path) {
  Result<FileDescriptor> folder = make_folder(path);
  if (!folder) return fail(std::move(folder));
  clear_folder(*folder);
  return WorkFolders(path, std::move(*folder));
}

WorkFolders::WorkFolders(const std::filesystem::path& path, FileDescriptor folder)
    : path_(path), folder_(std::move(folder)) {}

AttemptFolders WorkFolders::folders_of(const std::string& name) const {
  const std::filesystem::path root = path_ / name;
  return {.root = root, .output = root / kOutput, .input = root / kInput, .temp = root / kTemp};
}

Result<AttemptFolders> WorkFolders::make(const std::string& name) {
  if (take_spare(name)) return folders_of(name);
  if (!remove_tree(folder_.get(), name)) {
    return fail(ErrorCode::unavailable, "an earlier work folder cannot be removed");
  }
  if (Result<void> made = make_new(name); !made) return fail(std::move(made));
  return folders_of(name);
}

Result<FileDescriptor> WorkFolders::open_output(const std::string& name) const {
  constexpr int kFlags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  const FileDescriptor root(::openat(folder_.get(), name.c_str(), kFlags));
  FileDescriptor output;
  if (root.is_open()) output = FileDescriptor(::openat(root.get(), kOutput, kFlags));
  if (output.is_open()) return output;
  if (is_passing(errno)) return io_failure(errno, "opening the output folder");
  return fail(ErrorCode::invalid_argument, "the output folder is gone, or no folder any more");
}

void WorkFolders::remove(const std::string& name) {
  if (make_spare_of(name)) return;
  if (!remove_tree(folder_.get(), name)) {
    log_warn("a work folder cannot be removed; the next start tries again", {{"name", name}});
  }
  add_spare();
}

Result<void> WorkFolders::make_new(const std::string& name) {
  std::vector<std::string> folders{name};
  for (const std::string_view part : kParts) folders.push_back(fmt::format("{}/{}", name, part));
  for (const std::string& folder : folders) {
    if (::mkdirat(folder_.get(), folder.c_str(), S_IRWXU) != 0) {
      return io_failure(errno, "making a work folder");
    }
  }
  return {};
}

/// Empties a used folder. False: it is not as it was made, or cannot be emptied.
bool WorkFolders::restore(const std::string& name) const {
  const FileDescriptor root = open_as_made(folder_.get(), name);
  if (!root.is_open()) return false;
  const auto entries = read_folder(root.get());
  if (!entries) return false;
  for (const std::string& entry : *entries) {
    const bool is_part = std::ranges::find(kParts, entry) != kParts.end();
    if (!is_part && !remove_tree(root.get(), entry)) return false;
  }
  return std::ranges::all_of(kParts, [&](std::string_view part) {
    const FileDescriptor folder = open_as_made(root.get(), part);
    return folder.is_open() && empty_folder(folder.get());
  });
}

bool WorkFolders::make_spare_of(const std::string& name) {
  std::optional<std::string> spare = next_spare();
  if (!spare || !restore(name)) return false;
  if (::renameat(folder_.get(), name.c_str(), folder_.get(), spare->c_str()) != 0) return false;
  const std::scoped_lock lock(spares_->mutex);
  spares_->names.push_back(*std::move(spare));
  return true;
}

std::optional<std::string> WorkFolders::next_spare() {
  const std::scoped_lock lock(spares_->mutex);
  if (spares_->names.size() >= kSparesMax) return std::nullopt;
  return fmt::format("spare-{}", ++spares_->made);
}

// The new name takes the place of nothing, or of an empty folder; else the spare is given back.
bool WorkFolders::take_spare(const std::string& name) {
  std::string spare;
  {
    const std::scoped_lock lock(spares_->mutex);
    if (spares_->names.empty()) return false;
    spare = std::move(spares_->names.back());
    spares_->names.pop_back();
  }
  if (::renameat(folder_.get(), spare.c_str(), folder_.get(), name.c_str()) == 0) return true;
  const std::scoped_lock lock(spares_->mutex);
  spares_->names.push_back(std::move(spare));
  return false;
}

void WorkFolders::add_spare() {
  std::optional<std::string> name = next_spare();
  if (!name) return;
  if (!make_new(*name)) {
    // A full disk, as likely as not; whoever needs a folder will say so.
    remove_tree(folder_.get(), *name);
    return;
  }
  const std::scoped_lock lock(spares_->mutex);
  spares_->names.push_back(*std::move(name));
}

}  // namespace quern
