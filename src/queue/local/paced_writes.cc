#include "queue/local/paced_writes.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <thread>

namespace quern {
namespace {

constexpr std::size_t kPortionBytes = 64U << 10U;
constexpr std::chrono::milliseconds kPauseMax{10};

// Of one file: what this thread has written of it since the disk had the last portion.
struct Portion {
  int fd = -1;
  off_t begin = 0;
  off_t end = 0;
  std::size_t bytes = 0;
};

thread_local bool is_paced = false;
thread_local Portion portion;

// False, with errno set: the disk has not taken it. Nobody else will be told: who waits for a file's
// bytes takes the error that its next sync would have met.
bool send(const Portion& p) {
  const auto begun = std::chrono::steady_clock::now();
  constexpr unsigned kWriteAndWait =
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  if (::sync_file_range(p.fd, p.begin, p.end - p.begin, kWriteAndWait) != 0) {
    return errno != EIO && errno != ENOSPC && errno != EDQUOT;
  }
  const auto taken = std::chrono::steady_clock::now() - begun;
  std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(taken, kPauseMax));
  return true;
}

ssize_t paced_pwrite(int fd, const void* bytes, std::size_t size, off_t offset) {
  const ssize_t written = ::pwrite(fd, bytes, size, offset);
  if (written <= 0 || !is_paced) return written;
  const off_t end = offset + static_cast<off_t>(written);
  if (portion.fd != fd) portion = {.fd = fd, .begin = offset, .end = end};
  portion.begin = std::min(portion.begin, offset);
  portion.end = std::max(portion.end, end);
  portion.bytes += static_cast<std::size_t>(written);
  if (portion.bytes < kPortionBytes) return written;
  if (!send(portion)) return -1;  // the portion stays due, as the caller's write does
  portion = {};
  return written;
}

}  // namespace

PacedWrites::PacedWrites() { is_paced = true; }

PacedWrites::~PacedWrites() {
  is_paced = false;
  portion = {};
}

void hook_paced_writes() {
  static_assert(sizeof(off_t) == 8, "SQLite passes offsets of 64 bits");
  sqlite3_vfs* const vfs = sqlite3_vfs_find(nullptr);
  // Which one of the two it calls is a matter of how it was built.
  for (const char* const name : {"pwrite", "pwrite64"}) {
    vfs->xSetSystemCall(vfs, name, reinterpret_cast<sqlite3_syscall_ptr>(paced_pwrite));
  }
}

}  // namespace quern
