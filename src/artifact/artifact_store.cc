#include "artifact/artifact_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>

#include "artifact/content_type.h"
#include "artifact/file_ops.h"
#include "artifact/key_folders.h"
#include "artifact/media_probe.h"
#include "artifact/output_path.h"
#include "artifact/work_folders.h"
#include "base/safe_file_name.h"

namespace quern {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kKeyBytes = 16;
constexpr std::size_t kContentTypeBytesMax = 255;
constexpr mode_t kOwnerOnly = S_IRUSR | S_IWUSR;
constexpr int kOpenFolder = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
// Kept with the file itself, so it is as durable and as old as the file. It saves serving a look at
// the content, no more: without it (another file system, a backup) the content is asked again.
constexpr const char* kContentTypeAttribute = "user.quern.content_type";

/// Makes a file ready to be published: ours alone, with its type, written now (its maker may have
/// dated it back, and files are swept by their age), and on the disk.
Result<void> seal(int fd, const std::string& content_type) {
  ::fchmod(fd, kOwnerOnly);
  ::fsetxattr(fd, kContentTypeAttribute, content_type.data(), content_type.size(), 0);
  // The exact time: the kernel's own stamps repeat within a tick, and the ETag is made of this one.
  std::array<timespec, 2> now{};
  ::clock_gettime(CLOCK_REALTIME, now.data());
  now[1] = now[0];
  ::futimens(fd, now.data());
  return sync(fd);
}

/// Whether somebody has the file open to write to it: a model server behind the runner, or a process that it left.
bool has_writer(int fd) {
  // Who opens it to write while we have the lease breaks that, and we are told by a signal, which ends a process.
  [[maybe_unused]] static const bool passes = ::signal(SIGIO, SIG_IGN) != SIG_ERR;
  if (::fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
    ::fcntl(fd, F_SETLEASE, F_UNLCK);
    return false;
  }
  return errno == EAGAIN;  // else the file system knows no leases
}

std::uint64_t size_of(int fd) {
  struct stat status{};
  return ::fstat(fd, &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

std::string content_type_of(int fd) {
  std::array<char, kContentTypeBytesMax> kept{};
  const ssize_t bytes = ::fgetxattr(fd, kContentTypeAttribute, kept.data(), kept.size());
  if (bytes > 0) return {kept.data(), static_cast<std::size_t>(bytes)};
  const Result<std::string> found = find_content_type(fd);
  if (!found) return "application/octet-stream";
  // Once for all who ask for this file: it is served without a key.
  ::fsetxattr(fd, kContentTypeAttribute, found->data(), found->size(), 0);
  return *found;
}

/// Made safe again: the extension may have made it too long.
std::string complete_name(std::string_view name, std::string_view content_type) {
  return safe_file_name(with_extension(safe_file_name(name), content_type));
}

std::unexpected<Error> no_such_file() { return fail(ErrorCode::not_found, "no such file"); }

std::uint64_t nanoseconds_of(const timespec& time) {
  constexpr std::uint64_t kPerSecond = 1'000'000'000;
  return static_cast<std::uint64_t>(time.tv_sec) * kPerSecond +
         static_cast<std::uint64_t>(time.tv_nsec);
}

/// A stored file never changes in place: a replaced one has another inode and time.
std::string etag_of(const struct stat& status) {
  return fmt::format("\"{:x}-{:x}-{:x}\"", status.st_ino, status.st_size,
                     nanoseconds_of(status.st_mtim));
}

}  // namespace

struct ArtifactStore::Impl {
  Impl(KeyFolders f, KeyFolders u, WorkFolders w, Random& r, MeasureMedia m)
      : files(std::move(f)),
        uploads(std::move(u)),
        work(std::move(w)),
        random(r),
        measure(std::move(m)) {}

  KeyFolders files;
  KeyFolders uploads;
  WorkFolders work;
  Random& random;
  const MeasureMedia measure;
  FileDescriptor temp;  // files that still grow, emptied at every start

  [[nodiscard]] Result<RunnerFile> open_output(const AttemptFolders& folders,
                                               std::string_view path) const;
  /// Gives an output its place by a link, or by a copy: of what cannot be linked, because it is on another file system
  /// or of another owner, and of what somebody still writes. Answers its size.
  Result<std::uint64_t> keep(const RunnerFile& source, const Output& output,
                             const std::stop_token& stop);
  Result<std::uint64_t> copy_file(int fd, const Output& output, const std::stop_token& stop);
  [[nodiscard]] Result<FileDescriptor> open_file(std::string_view key, std::string_view name,
                                                 const KeyFolders*& where) const;
};

namespace {

/// A file in the folder of growing files, gone with this object unless it was moved away.
class TempFile {
 public:
  static Result<TempFile> make(int folder, Random& random) {
    TempFile temp;
    temp.folder_ = folder;
    temp.name_ = random_hex(random, kKeyBytes);
    temp.fd_ = FileDescriptor(
        ::openat(folder, temp.name_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, kOwnerOnly));
    if (!temp.fd_.is_open()) return io_failure(errno, "storing a file");
    return temp;
  }
  TempFile(TempFile&& other) noexcept = default;
  TempFile& operator=(TempFile&&) = delete;
  ~TempFile() {
    if (fd_.is_open()) ::unlinkat(folder_, name_.c_str(), 0);
  }

  [[nodiscard]] int fd() const { return fd_.get(); }
  Result<void> move_to(KeyFolders& folders, const std::string& key, const std::string& name) {
    auto moved = folders.move_file(folder_, name_, key, name);
    if (moved) fd_ = FileDescriptor();
    return moved;
  }

 private:
  TempFile() = default;

  int folder_ = -1;
  std::string name_;
  FileDescriptor fd_;
};

class StoredUpload final : public Upload {
 public:
  StoredUpload(TempFile temp, KeyFolders& folders, std::uint64_t bytes_max)
      : temp_(std::move(temp)), folders_(folders), bytes_max_(bytes_max) {}

  void keep_as(std::string key, std::string name, bool name_is_final) {
    key_ = std::move(key);
    name_ = std::move(name);
    name_is_final_ = name_is_final;
  }

  Result<void> write(std::string_view bytes) override {
    if (failed_) return fail(ErrorCode::conflict, "this upload has failed before");
    if (bytes.size() > bytes_max_ - bytes_) {
      failed_ = true;
      return fail(ErrorCode::too_large, fmt::format("file larger than {} bytes", bytes_max_));
    }
    auto written = write_all(temp_.fd(), bytes);
    failed_ = !written;
    bytes_ += bytes.size();
    return written;
  }

  Result<Output> finish() override {
    if (std::exchange(failed_, true)) return fail(ErrorCode::conflict, "this upload has ended");
    Result<std::string> type = find_content_type(temp_.fd());
    if (!type) return fail(std::move(type));
    Output output{.file_key = key_, .content_type = *type, .file_bytes = bytes_};
    output.file_name = name_is_final_ ? name_ : complete_name(name_, *type);
    if (auto sealed = seal(temp_.fd(), *type); !sealed) return fail(std::move(sealed));
    if (auto moved = temp_.move_to(folders_, key_, output.file_name); !moved) {
      return fail(std::move(moved));
    }
    return output;
  }

 private:
  TempFile temp_;
  KeyFolders& folders_;
  std::uint64_t bytes_max_;
  std::uint64_t bytes_ = 0;
  bool failed_ = false;  // or finished: nothing more may come
  std::string key_;
  std::string name_;
  bool name_is_final_ = false;
};

/// The runner's own name of a published file goes, if it still leads to that file.
void unlink_source(const RunnerFile& source) {
  struct stat now{};
  const bool is_same =
      ::fstatat(source.folder.get(), source.name.c_str(), &now, AT_SYMLINK_NOFOLLOW) == 0 &&
      now.st_ino == source.status.st_ino && now.st_dev == source.status.st_dev;
  if (is_same) ::unlinkat(source.folder.get(), source.name.c_str(), 0);
}

}  // namespace

ArtifactStore::ArtifactStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ArtifactStore::~ArtifactStore() = default;

Result<std::unique_ptr<ArtifactStore>> ArtifactStore::open(const fs::path& data, Random& random,
                                                           MeasureMedia measure) {
  std::error_code error;
  const fs::path root = fs::absolute(data, error);
  fs::create_directories(root, error);
  if (error) return io_failure(error.value(), "making " + data.string());
  Result<KeyFolders> files = KeyFolders::open(root / "files");
  if (!files) return fail(std::move(files));
  Result<KeyFolders> uploads = KeyFolders::open(root / "uploads");
  if (!uploads) return fail(std::move(uploads));
  Result<FileDescriptor> temp = make_folder(root / "temp");
  if (!temp) return fail(std::move(temp));
  Result<WorkFolders> work = WorkFolders::open(root / "work");
  if (!work) return fail(std::move(work));

  auto impl = std::make_unique<Impl>(std::move(*files), std::move(*uploads), std::move(*work),
                                     random, std::move(measure));
  impl->temp = std::move(*temp);
  clear_folder(impl->temp);
  const FileDescriptor root_folder(::open(root.c_str(), kOpenFolder));
  if (auto synced = sync(root_folder.get()); !synced) return fail(std::move(synced));
  return std::unique_ptr<ArtifactStore>(new ArtifactStore(std::move(impl)));
}

Result<AttemptFolders> ArtifactStore::make_folders(const TaskId& task, std::uint64_t lease_token) {
  return impl_->work.make(fmt::format("{}-{}", task.to_string(), lease_token));
}

void ArtifactStore::remove_folders(const AttemptFolders& folders) {
  if (!folders.root.empty()) impl_->work.remove(folders.root.filename());
}

bool ArtifactStore::is_full() const {
  const auto says_so = [](const Error& error) { return error.retry_after == kDiskFullRetryAfter; };
  const Result<TempFile> probe = TempFile::make(impl_->temp.get(), impl_->random);
  if (!probe) return says_so(probe.error());
  const Result<void> written = write_all(probe->fd(), std::string(kProbeBytes, '\0'));
  return !written && says_so(written.error());
}

Result<RunnerFile> ArtifactStore::Impl::open_output(const AttemptFolders& folders,
                                                    std::string_view path) const {
  Result<FileDescriptor> folder = work.open_output(folders.root.filename());
  if (!folder) return fail(std::move(folder));
  return open_runner_file(folder->get(), path);
}

Result<std::uint64_t> ArtifactStore::Impl::copy_file(int fd, const Output& output,
                                                     const std::stop_token& stop) {
  Result<TempFile> copy = TempFile::make(temp.get(), random);
  if (!copy) return fail(std::move(copy));
  ::lseek(fd, 0, SEEK_SET);
  if (auto copied = copy_all(fd, copy->fd(), stop); !copied) return fail(std::move(copied));
  if (auto sealed = seal(copy->fd(), output.content_type); !sealed) return fail(std::move(sealed));
  const std::uint64_t bytes = size_of(copy->fd());
  auto moved = copy->move_to(files, output.file_key, output.file_name);
  if (moved) return bytes;
  files.remove(output.file_key);
  return fail(std::move(moved));
}

Result<std::uint64_t> ArtifactStore::Impl::keep(const RunnerFile& source, const Output& output,
                                                const std::stop_token& stop) {
  const int fd = source.file.get();
  const bool is_ours = source.status.st_uid == ::geteuid();
  if (is_ours && !has_writer(fd) && seal(fd, output.content_type) &&
      files.link_file(fd, output.file_key, output.file_name)) {
    return size_of(fd);
  }
  return copy_file(fd, output, stop);
}

Result<Output> ArtifactStore::adopt(const AttemptFolders& folders, std::string_view path,
                                    OutputType type, const std::stop_token& stop) {
  Result<RunnerFile> source = impl_->open_output(folders, path);
  if (!source) return fail(std::move(source));
  Result<MediaInfo> media = probe_media(source->file.get(), impl_->measure, stop);
  if (!media) return fail(std::move(media));

  Output output{.type = type,
                .file_key = random_hex(impl_->random, kKeyBytes),
                .content_type = media->content_type,
                .width = media->width,
                .height = media->height,
                .duration = media->duration};
  const std::string own_name = fs::path(path).filename();
  output.file_name = complete_name(own_name, output.content_type);

  const Result<std::uint64_t> kept = impl_->keep(*source, output, stop);
  if (!kept) return std::unexpected(kept.error());
  output.file_bytes = *kept;
  unlink_source(*source);
  return output;
}

Result<std::string> ArtifactStore::read_output(const AttemptFolders& folders, std::string_view path,
                                               std::uint64_t bytes_max) const {
  Result<RunnerFile> source = impl_->open_output(folders, path);
  if (!source) return fail(std::move(source));
  const auto bytes = static_cast<std::uint64_t>(source->status.st_size);
  if (bytes > bytes_max) {
    return fail(ErrorCode::too_large, fmt::format("text output larger than {} bytes", bytes_max));
  }
  std::string text(bytes, '\0');
  std::size_t have = 0;
  while (have < text.size()) {
    const ssize_t got = ::read(source->file.get(), text.data() + have, text.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_failure(errno, "reading an output");
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  text.resize(have);
  return text;
}

Result<std::unique_ptr<Upload>> ArtifactStore::start_upload(std::string_view file_name,
                                                            std::uint64_t bytes_max,
                                                            std::optional<std::string> file_key) {
  if (file_key && !is_file_key(*file_key)) {
    return fail(ErrorCode::invalid_argument, "malformed file key");
  }
  Result<TempFile> temp = TempFile::make(impl_->temp.get(), impl_->random);
  if (!temp) return fail(std::move(temp));
  auto upload = std::make_unique<StoredUpload>(std::move(*temp), impl_->uploads, bytes_max);
  const bool name_is_final = file_key.has_value();
  upload->keep_as(name_is_final ? std::move(*file_key) : random_hex(impl_->random, kKeyBytes),
                  safe_file_name(file_name), name_is_final);
  return upload;
}

/// A name that safe_file_name() would change was never given to a file, whatever it leads to.
Result<FileDescriptor> ArtifactStore::Impl::open_file(std::string_view key, std::string_view name,
                                                      const KeyFolders*& where) const {
  if (!is_file_key(key) || safe_file_name(name) != name) return no_such_file();
  for (const KeyFolders* folders : {&files, &uploads}) {
    where = folders;
    Result<FileDescriptor> file = folders->open_file(std::string(key), std::string(name));
    if (file || file.error().code != ErrorCode::not_found) return file;
  }
  return no_such_file();
}

Result<OpenFile> ArtifactStore::open_file(std::string_view file_key,
                                          std::string_view file_name) const {
  const KeyFolders* where = nullptr;
  Result<FileDescriptor> file = impl_->open_file(file_key, file_name, where);
  if (!file) return fail(std::move(file));
  struct stat status{};
  if (::fstat(file->get(), &status) != 0) return no_such_file();
  OpenFile opened;
  opened.bytes = static_cast<std::uint64_t>(status.st_size);
  opened.content_type = content_type_of(file->get());
  opened.etag = etag_of(status);
  opened.modified = WallTime{std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::nanoseconds{nanoseconds_of(status.st_mtim)})};
  opened.fd = file->release();
  return opened;
}

Result<fs::path> ArtifactStore::find_path(std::string_view file_key,
                                          std::string_view file_name) const {
  const KeyFolders* where = nullptr;
  Result<FileDescriptor> file = impl_->open_file(file_key, file_name, where);
  if (!file) return fail(std::move(file));
  return where->path_of(file_key, file_name);
}

void ArtifactStore::touch(std::span<const Output> outputs) {
  for (const Output& output : outputs) {
    if (is_file_key(output.file_key)) impl_->files.touch(output.file_key);
  }
}

void ArtifactStore::remove(std::span<const Output> outputs) {
  for (const Output& output : outputs) {
    if (!is_file_key(output.file_key)) continue;
    if (!impl_->files.remove(output.file_key)) impl_->uploads.remove(output.file_key);
  }
}

std::size_t ArtifactStore::sweep_uploads(WallTime before, std::size_t count_max) {
  return impl_->uploads.sweep(before, count_max);
}

std::size_t ArtifactStore::sweep_outputs(WallTime before, std::size_t count_max) {
  return impl_->files.sweep(before, count_max);
}

}  // namespace quern
