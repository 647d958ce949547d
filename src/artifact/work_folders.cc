#include "artifact/work_folders.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "artifact/file_ops.h"
#include "base/log.h"

namespace quern {
namespace {

constexpr std::size_t kSparesMax = 16;

constexpr const char* kOutput = "output";
constexpr const char* kInput = "input";
constexpr const char* kTemp = "tmp";

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

void WorkFolders::remove(const std::string& name) {
  if (!remove_tree(folder_.get(), name)) {
    log_warn("a work folder cannot be removed; the next start tries again", {{"name", name}});
  }
  add_spare();
}

Result<void> WorkFolders::make_new(const std::string& name) {
  const std::string prefix = name + '/';
  for (const std::string& folder : {name, prefix + kOutput, prefix + kInput, prefix + kTemp}) {
    if (::mkdirat(folder_.get(), folder.c_str(), S_IRWXU) != 0) {
      return io_failure(errno, "making a work folder");
    }
  }
  return {};
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
  std::string name;
  {
    const std::scoped_lock lock(spares_->mutex);
    if (spares_->names.size() >= kSparesMax) return;
    name = fmt::format("spare-{}", ++spares_->made);
  }
  if (!make_new(name)) {
    // A full disk, as likely as not; whoever needs a folder will say so.
    remove_tree(folder_.get(), name);
    return;
  }
  const std::scoped_lock lock(spares_->mutex);
  spares_->names.push_back(std::move(name));
}

}  // namespace quern
