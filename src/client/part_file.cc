#include "client/part_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace quern::client {
namespace fs = std::filesystem;

namespace {

constexpr std::size_t kNameRandomBytes = 8;

std::unexpected<Error> cannot_write(const fs::path& place, int error) {
  return fail(ErrorCode::unavailable,
              "cannot write " + place.string() + ": " + std::generic_category().message(error));
}

fs::path numbered(const fs::path& name, int n) {
  if (n == 1) return name;
  return name.stem().string() + "-" + std::to_string(n) + name.extension().string();
}

}  // namespace

Result<PartFile> PartFile::make(const fs::path& folder, Random& random) {
  const fs::path path = folder / (".quern-" + random_hex(random, kNameRandomBytes) + ".part");
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0) return cannot_write(folder.empty() ? "." : folder, errno);
  return PartFile(descriptor, path);
}

PartFile::PartFile(PartFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      path_(std::exchange(other.path_, {})),
      size_(other.size_),
      error_(other.error_) {}

PartFile::~PartFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!path_.empty()) ::unlink(path_.c_str());
}

bool PartFile::note(bool fine) {
  if (!fine && error_ == 0) error_ = errno;
  return fine;
}

bool PartFile::write(const char* bytes, std::size_t size) {
  while (size > 0) {
    const ssize_t written = ::write(descriptor_, bytes, size);
    if (written < 0 && errno == EINTR) continue;
    if (!note(written >= 0)) return false;
    bytes += written;
    size -= static_cast<std::size_t>(written);
    size_ += static_cast<std::uint64_t>(written);
  }
  return true;
}

bool PartFile::restart() {
  size_ = 0;
  return note(::ftruncate(descriptor_, 0) == 0 && ::lseek(descriptor_, 0, SEEK_SET) == 0);
}

Result<void> PartFile::close(const fs::path& file) {
  // A file system on the network may say only now that the bytes have no room.
  if (descriptor_ >= 0) note(::close(std::exchange(descriptor_, -1)) == 0);
  if (error_ != 0) return cannot_write(file, error_);
  return {};
}

Result<void> PartFile::move_to(const fs::path& file) {
  if (Result<void> closed = close(file); !closed) return closed;
  if (::rename(path_.c_str(), file.c_str()) != 0) return cannot_write(file, errno);
  path_.clear();
  return {};
}

Result<fs::path> PartFile::move_to_free_name(const fs::path& folder, const std::string& name) {
  if (Result<void> closed = close(folder / name); !closed) return fail(std::move(closed));
  for (int n = 1; n <= kSameNamesMax; ++n) {
    const fs::path file = folder / numbered(name, n);
    const int error = rename_to_free(path_, file);
    if (error == EEXIST) continue;
    if (error != 0) return cannot_write(file, error);
    path_.clear();
    return file;
  }
  return cannot_write(folder / name, EEXIST);
}

int rename_to_free(const fs::path& from, const fs::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) return errno;
  return rename_to_free_in_steps(from, to);
}

int rename_to_free_in_steps(const fs::path& from, const fs::path& to) {
  // An empty file takes the name, and is replaced. A hard link would do it in one step, but who has
  // no RENAME_NOREPLACE often has no links either.
  const int placeholder = ::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (placeholder < 0) return errno;
  ::close(placeholder);
  if (::rename(from.c_str(), to.c_str()) == 0) return 0;
  const int error = errno;
  ::unlink(to.c_str());
  return error;
}

}  // namespace quern::client
