#include "queue/local/redo_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <string>
#include <utility>

#include "base/assert.h"
#include "queue/local/data_folder.h"
#include "queue/local/redo_chain.h"

namespace quern {
namespace {

constexpr std::uint64_t kGrowStepMin = 256 * 1024;
constexpr std::uint64_t kGrowStepMax = 4 * 1024 * 1024;
constexpr std::size_t kBufferKeptMax = 1024 * 1024;  // between two appends

constexpr std::array<const char*, 2> kFileNames{"redo-a", "redo-b"};

std::unexpected<Error> cannot_write(int error) {
  return std::unexpected(redo_error(error, "the store cannot be written"));
}

// ---- system calls; each answers an errno, 0 is success

int write_all(int fd, std::string_view bytes, std::uint64_t at) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return written < 0 ? errno : ENOSPC;
    bytes.remove_prefix(static_cast<std::size_t>(written));
    at += static_cast<std::uint64_t>(written);
  }
  return 0;
}

int cut(int fd, std::uint64_t size) {
  return ::ftruncate(fd, static_cast<off_t>(size)) == 0 ? 0 : errno;
}

int sync_data(int fd) { return ::fdatasync(fd) == 0 ? 0 : errno; }

/// Zeros behind `used` bytes, all or nothing; answers the file's size. Without them, such as for want
/// of room, records themselves make the file longer.
std::uint64_t grow_ahead(int fd, std::uint64_t used) {
  static constexpr std::array<char, 64 * 1024> kZeros{};
  const std::uint64_t end = used + std::clamp(used, kGrowStepMin, kGrowStepMax);
  for (std::uint64_t at = used; at < end; at += kZeros.size()) {
    const std::size_t bytes = std::min<std::uint64_t>(kZeros.size(), end - at);
    if (write_all(fd, {kZeros.data(), bytes}, at) == 0) continue;
    return cut(fd, used) == 0 ? used : at;
  }
  return end;
}

// ---- replay

// A chain that ends before is not asked for anything: its file may just have been begun anew.
Result<void> check_all_there(const RedoChain& older, const RedoChain& newer, std::uint64_t after) {
  std::uint64_t last = after;
  for (const RedoChain* chain : {&older, &newer}) {
    if (chain->last() <= after) continue;
    const bool goes_on = last == after ? chain->first <= last + 1 : chain->first == last + 1;
    if (!goes_on) {
      return fail(ErrorCode::data_loss, "the redo log lacks records: the first after " +
                                            std::to_string(last) + " is " +
                                            std::to_string(chain->first));
    }
    last = chain->last();
  }
  return {};
}

// A record is synced before the tables get it, so whatever a crash leaves of the log goes as far as they
// do, but for one record: one whose sync failed is still read after a kill, and put into the tables; if
// the power fails then, before a sync of the log works again, the log alone may lack it.
Result<void> check_not_behind(const RedoChain& newer, std::uint64_t after) {
  if (newer.first == 0 || newer.last() + 1 >= after) return {};
  return fail(ErrorCode::data_loss,
              fmt::format("the redo log lacks records: it ends at {}, and the tables have {}",
                          newer.last(), after));
}

// Both names are on the disk before the first record is, so no crash takes one of them away. The file
// that is gone held what is needed only if the other one is full, or was never used: redo-a is made, and
// used, first.
Result<void> check_none_gone(const std::array<RedoFile, 2>& files,
                             const std::array<RedoChain, 2>& chains, std::uint64_t after,
                             std::uint64_t file_bytes) {
  for (const std::size_t file : {0U, 1U}) {
    const RedoChain& other = chains[1 - file];
    if (files[file].fd >= 0 || files[1 - file].fd < 0) continue;
    const bool was_needed = other.first == 0 ? file == 0 && after > 0 : other.next.at >= file_bytes;
    if (!was_needed) continue;
    return fail(ErrorCode::data_loss,
                fmt::format("the redo log lacks records: {} is missing, and may have held those "
                            "after {}",
                            kFileNames[file], std::max(other.last(), after)));
  }
  return {};
}

std::string describe(const RedoGap& gap) {
  const std::uint64_t last = gap.end.number - 1;
  const std::uint64_t first = gap.begin.at == 0 ? last : gap.begin.number;
  return first == last
             ? fmt::format("the redo log lacks records: {} is damaged, and later ones are there",
                           last)
             : fmt::format(
                   "the redo log lacks records: {} to {} are damaged, and later ones are there",
                   first, last);
}

Result<void> give_records(RedoReader& reader, const RedoChain& chain, std::uint64_t after,
                          const RedoLog::Record& record) {
  if (chain.last() <= after) return {};
  auto gap = chain.gaps.begin();
  for (RedoPlace place{.seed = chain.next.seed}; place.at < chain.next.at;) {
    if (gap != chain.gaps.end() && gap->begin.at == place.at) {
      if (gap->end.number > after + 1) return fail(ErrorCode::data_loss, describe(*gap));
      place = gap++->end;
      continue;
    }
    const auto found = reader.find(place);
    if (!found) return std::unexpected(found.error());
    if (!*found)
      return std::unexpected(
          redo_error(EIO, "the store cannot be read"));  // it was there a moment ago
    const RedoHeader& header = (*found)->header;
    if (header.number > after) {
      if (Result<void> taken = record(header.number, (*found)->content); !taken) return taken;
    }
    place = place.behind(header);
  }
  return {};
}

// Writes once more what a sync that failed before a crash may have left in memory alone, where
// reading finds it and no later sync writes it: the last record, and the zeros that cover one. What
// replay has found is so what it finds after a power cut too.
Result<void> settle(const RedoFile& file, const RedoChain& chain) {
  RedoReader reader(file);
  const std::uint64_t end = chain.next.at;
  Result<std::string_view> last = reader.read(chain.last_at, end - chain.last_at);
  if (!last) return fail(std::move(last));
  int error = write_all(file.fd, *last, chain.last_at);
  const std::size_t zeros = std::min<std::uint64_t>(sizeof(RedoHeader), file.size - end);
  if (error == 0) error = write_all(file.fd, bytes_of(RedoHeader{}).substr(0, zeros), end);
  if (error == 0) error = ::fsync(file.fd) == 0 ? 0 : errno;
  if (error != 0) return cannot_write(error);
  return {};
}

}  // namespace

// ---- RedoLog

struct RedoLog::Impl {
  explicit Impl(const RedoLogOptions& options)
      : folder(options.folder), seed(options.seed), file_bytes(options.file_bytes) {}
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  int open(std::size_t file, int flags);
  Result<void> make_missing();
  [[nodiscard]] std::unexpected<Error> cannot_open(std::size_t file, int error) const;
  Result<void> replay(std::uint64_t after, const Record& record);
  Result<void> settle_all();
  Result<std::uint64_t> append(std::string_view content);
  int write(const RedoHeader& header, std::string_view content);
  void cover();
  void begin(std::size_t file, std::uint64_t number);
  void note_full() { needed = next.at >= file_bytes ? other_last : 0; }

  const std::filesystem::path folder;
  const std::uint64_t seed;
  const std::uint64_t file_bytes;
  std::array<RedoFile, 2> files;
  std::size_t in_use = 0;
  RedoPlace next;                // of the file in use
  std::uint64_t other_last = 0;  // number of the last record in the other file, 0: none
  bool is_replayed = false;
  bool must_stay = false;
  bool is_settled = false;
  std::array<RedoChain, 2> found_chains;  // by replay(), for settle_all()
  std::string buffer;

  std::atomic<std::uint64_t> released{0};
  std::atomic<std::uint64_t> needed{0};  // appends switch files when it is released
  std::atomic<bool> disk_full{false};
};

RedoLog::Impl::~Impl() {
  for (const RedoFile& file : files) {
    if (file.fd >= 0) ::close(file.fd);
  }
}

/// Answers an errno, 0 is success.
int RedoLog::Impl::open(std::size_t file, int flags) {
  RedoFile& opened = files[file];
  opened.fd = ::open((folder / kFileNames[file]).c_str(), flags | O_RDWR | O_CLOEXEC, 0600);
  struct stat status{};
  if (opened.fd < 0 || ::fstat(opened.fd, &status) != 0) return errno;
  opened.size = static_cast<std::uint64_t>(status.st_size);
  return 0;
}

// In their order: see check_none_gone().
Result<void> RedoLog::Impl::make_missing() {
  for (const std::size_t file : {0U, 1U}) {
    if (files[file].fd >= 0) continue;
    if (const int error = open(file, O_CREAT); error != 0) return cannot_open(file, error);
  }
  return {};
}

std::unexpected<Error> RedoLog::Impl::cannot_open(std::size_t file, int error) const {
  const std::filesystem::path path = folder / kFileNames[file];
  return std::unexpected(redo_error(error, "cannot open the redo log " + path.string()));
}

// A crash leaves one of these:
// - A torn record behind the last of the file in use: that is the end, and written over.
// - The same at the start of a file begun anew. Then that file is empty, or some of its old records
//   are there still. They were released, so none is after `after`, and nothing is asked of them.
// - Old bytes behind the last record, of an earlier use of the file or of a torn record that was
//   written over. Number last + 1 is not among the former, since a file begins anew with a number
//   higher than any in it; nor behind the latter, since nothing is written behind a record before it
//   is whole. The checksums' seeds rule out what only looks like it.
Result<void> RedoLog::Impl::replay(std::uint64_t after, const Record& record) {
  QUERN_ASSERT(!is_replayed);
  std::array<RedoReader, 2> readers{RedoReader(files[0]), RedoReader(files[1])};
  std::array<RedoChain, 2> chains;
  for (const std::size_t file : {0U, 1U}) {
    Result<RedoChain> found = find_redo_chain(readers[file], seed);
    if (!found) return fail(std::move(found));
    chains[file] = *found;
  }
  const std::size_t newer = chains[1].last() > chains[0].last() ? 1 : 0;

  if (Result<void> all = check_all_there(chains[1 - newer], chains[newer], after); !all) return all;
  if (Result<void> ends = check_not_behind(chains[newer], after); !ends) return ends;
  if (Result<void> both = check_none_gone(files, chains, after, file_bytes); !both) return both;
  if (Result<void> made = make_missing(); !made) return made;
  for (const std::size_t file : {1 - newer, newer}) {
    if (Result<void> given = give_records(readers[file], chains[file], after, record); !given) {
      return given;
    }
  }
  found_chains = chains;
  // On a disk that fails, appends try it again.
  static_cast<void>(settle_all());

  released = after;
  is_replayed = true;
  if (chains[newer].first == 0) {
    begin(newer, after + 1);
    return {};
  }
  if (chains[newer].last() < after) {
    begin(1 - newer, after + 1);  // a record that is torn leaves what the log ended with
    return {};
  }
  in_use = newer;
  next = chains[newer].next;
  other_last = chains[1 - newer].last();
  note_full();
  return {};
}

// Before the first append. A file, or its name in the folder, may not have been synced either.
Result<void> RedoLog::Impl::settle_all() {
  if (is_settled) return {};
  for (const std::size_t file : {0U, 1U}) {
    if (Result<void> done = settle(files[file], found_chains[file]); !done) return done;
  }
  if (const int error = sync_folder(folder); error != 0) return cannot_write(error);
  is_settled = true;
  return {};
}

void RedoLog::Impl::begin(std::size_t file, std::uint64_t number) {
  RedoFile& begun = files[file];
  // What the other one has come to, this one is likely to need again.
  const std::uint64_t needed_size = std::max(file_bytes, next.at);
  if (begun.size > 2 * needed_size && cut(begun.fd, needed_size) == 0) begun.size = needed_size;
  in_use = file;
  next = {.number = number, .seed = seed};
}

Result<std::uint64_t> RedoLog::Impl::append(std::string_view content) {
  QUERN_ASSERT(is_replayed && content.size() <= std::numeric_limits<std::uint32_t>::max());
  if (disk_full) return cannot_write(ENOSPC);
  if (Result<void> done = settle_all(); !done) return fail(std::move(done));
  if (next.at >= file_bytes && other_last <= released && !must_stay) {
    other_last = next.number - 1;
    begin(1 - in_use, next.number);
  }
  const RedoHeader header = make_redo_header(next, content);
  const int error = write(header, content);
  // Its remains would be a second record of this number if the next one went to the other file.
  must_stay = error != 0;
  if (error != 0) {
    cover();
    return cannot_write(error);
  }
  next = next.behind(header);
  note_full();
  return header.number;
}

int RedoLog::Impl::write(const RedoHeader& header, std::string_view content) {
  RedoFile& file = files[in_use];
  buffer.assign(bytes_of(header));
  buffer.append(content);
  int error = write_all(file.fd, buffer, next.at);
  if (buffer.capacity() > kBufferKeptMax) buffer = {};
  if (error != 0) return error;
  std::uint64_t size = file.size;
  const std::uint64_t end = next.behind(header).at;
  if (end > size) size = grow_ahead(file.fd, end);
  error = sync_data(file.fd);
  if (error == 0) file.size = size;
  return error;
}

// As well as it can be done: what fails here is left, as the next record takes this place anyway.
void RedoLog::Impl::cover() {
  const RedoFile& file = files[in_use];
  write_all(file.fd, bytes_of(RedoHeader{}), next.at);
  cut(file.fd, file.size);
  sync_data(file.fd);
}

RedoLog::RedoLog(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RedoLog::~RedoLog() = default;

Result<std::unique_ptr<RedoLog>> RedoLog::open(const RedoLogOptions& options) {
  auto impl = std::make_unique<Impl>(options);
  for (const std::size_t file : {0U, 1U}) {
    const int error = impl->open(file, 0);
    if (error != 0 && error != ENOENT) return impl->cannot_open(file, error);
  }
  return std::unique_ptr<RedoLog>(new RedoLog(std::move(impl)));
}

Result<void> RedoLog::replay(std::uint64_t after, const Record& record) {
  return impl_->replay(after, record);
}

Result<std::uint64_t> RedoLog::append(std::string_view content) { return impl_->append(content); }

void RedoLog::release(std::uint64_t number) {
  std::uint64_t before = impl_->released;
  while (before < number && !impl_->released.compare_exchange_weak(before, number)) {
  }
}

bool RedoLog::is_full() const { return impl_->needed > impl_->released; }

void RedoLog::set_disk_full(bool full) { impl_->disk_full = full; }

}  // namespace quern
