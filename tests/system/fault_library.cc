// Stands between a server and its C library (LD_PRELOAD) and makes calls fail as the fault board
// says. Without a board every call passes through.

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <string_view>

#include "tests/system/fault_board.h"

namespace {

using quern::FaultBoard;

FaultBoard* open_board() {
  static FaultBoard none{};
  const char* file = std::getenv(quern::kFaultBoardVariable);
  // Not by open(), which is below and asks the board.
  const int fd = file != nullptr
                     ? static_cast<int>(::syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC))
                     : -1;
  if (fd < 0) return &none;
  void* page = ::mmap(nullptr, sizeof(FaultBoard), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  return page == MAP_FAILED ? &none : static_cast<FaultBoard*>(page);
}

FaultBoard& board() {
  static FaultBoard* const it = open_board();
  return *it;
}

// The function that would have been called without this library.
template <typename Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

enum class StoreFile : std::uint8_t { none, database, log_of_database, redo };

StoreFile store_file(int fd) {
  std::array<char, 32> link{"/proc/self/fd/"};
  std::size_t end = std::string_view(link.data()).size();
  std::array<char, 12> digits{};
  std::size_t count = 0;
  for (int rest = fd; count == 0 || rest > 0; rest /= 10) {
    digits[count++] = static_cast<char>('0' + rest % 10);
  }
  while (count > 0) link[end++] = digits[--count];
  std::array<char, 4096> path{};
  const ssize_t size = ::readlink(link.data(), path.data(), path.size());
  const std::string_view text(path.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  const std::string_view name = text.substr(text.rfind('/') + 1);
  if (name == "queue.sqlite") return StoreFile::database;
  if (name.starts_with("queue.sqlite-")) return StoreFile::log_of_database;
  return name == "redo-a" || name == "redo-b" ? StoreFile::redo : StoreFile::none;
}

// True (with errno set): the call is to fail.
bool fails(int error) {
  if (error == 0) return false;
  board().faults.fetch_add(1);
  errno = error;
  return true;
}

bool write_fails(int fd) {
  const int error = board().write_error.load();
  const int tables_error = board().tables_write_error.load();
  if (error == 0 && tables_error == 0) return false;
  const StoreFile file = store_file(fd);
  if (file == StoreFile::none) return false;
  return fails(error) || (file != StoreFile::redo && fails(tables_error));
}

bool sync_fails(int fd) {
  const int error = board().sync_error.load();
  const int database_error = board().database_sync_error.load();
  const int redo_error = board().redo_sync_error.load();
  if (error == 0 && database_error == 0 && redo_error == 0) return false;
  const StoreFile file = store_file(fd);
  if (file == StoreFile::none) return false;
  if (file == StoreFile::database && fails(database_error)) return true;
  if (file == StoreFile::redo && fails(redo_error)) return true;
  return fails(error);
}

}  // namespace

extern "C" {

ssize_t write(int fd, const void* bytes, size_t count) {
  static auto* const real = next<ssize_t(int, const void*, size_t)>("write");
  return write_fails(fd) ? -1 : real(fd, bytes, count);
}

ssize_t pwrite(int fd, const void* bytes, size_t count, off_t offset) {
  static auto* const real = next<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  return write_fails(fd) ? -1 : real(fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void* bytes, size_t count, off64_t offset) {
  static auto* const real = next<ssize_t(int, const void*, size_t, off64_t)>("pwrite64");
  return write_fails(fd) ? -1 : real(fd, bytes, count, offset);
}

int ftruncate(int fd, off_t size) noexcept {
  static auto* const real = next<int(int, off_t)>("ftruncate");
  return write_fails(fd) ? -1 : real(fd, size);
}

int ftruncate64(int fd, off64_t size) noexcept {
  static auto* const real = next<int(int, off64_t)>("ftruncate64");
  return write_fails(fd) ? -1 : real(fd, size);
}

int fsync(int fd) {
  static auto* const real = next<int(int)>("fsync");
  return sync_fails(fd) ? -1 : real(fd);
}

int fdatasync(int fd) {
  static auto* const real = next<int(int)>("fdatasync");
  return sync_fails(fd) ? -1 : real(fd);
}

int sync_file_range(int fd, off64_t offset, off64_t count, unsigned int flags) {
  static auto* const real = next<int(int, off64_t, off64_t, unsigned int)>("sync_file_range");
  return fails(board().tables_portion_error.load()) ? -1 : real(fd, offset, count, flags);
}

int pipe2(int* ends, int flags) noexcept {
  static auto* const real = next<int(int*, int)>("pipe2");
  return fails(board().descriptor_error.load()) ? -1 : real(ends, flags);
}

int eventfd(unsigned int count, int flags) noexcept {
  static auto* const real = next<int(unsigned int, int)>("eventfd");
  return fails(board().descriptor_error.load()) ? -1 : real(count, flags);
}

int accept(int listener, sockaddr* peer, socklen_t* size) {
  static auto* const real = next<int(int, sockaddr*, socklen_t*)>("accept");
  return fails(board().descriptor_error.load()) ? -1 : real(listener, peer, size);
}

int accept4(int listener, sockaddr* peer, socklen_t* size, int flags) {
  static auto* const real = next<int(int, sockaddr*, socklen_t*, int)>("accept4");
  return fails(board().descriptor_error.load()) ? -1 : real(listener, peer, size, flags);
}

int open(const char* path, int flags, ...) {
  static auto* const real = next<int(const char*, int, ...)>("open");
  va_list more;
  va_start(more, flags);
  const auto mode = va_arg(more, unsigned int);
  va_end(more);
  return fails(board().descriptor_error.load()) ? -1 : real(path, flags, mode);
}

int openat(int folder, const char* path, int flags, ...) {
  static auto* const real = next<int(int, const char*, int, ...)>("openat");
  va_list more;
  va_start(more, flags);
  const auto mode = va_arg(more, unsigned int);
  va_end(more);
  return fails(board().descriptor_error.load()) ? -1 : real(folder, path, flags, mode);
}

int clock_gettime(clockid_t clock, timespec* time) noexcept {
  static auto* const real = next<int(clockid_t, timespec*)>("clock_gettime");
  const int done = real(clock, time);
  if (done == 0 && clock == CLOCK_REALTIME) time->tv_sec += board().clock_ahead_seconds.load();
  return done;
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                   void* argument) noexcept {
  using Create = int(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static auto* const real = next<Create>("pthread_create");
  const int error = board().thread_error.load();
  return fails(error) ? error : real(thread, attributes, run, argument);
}

// What the server starts its runners with.
int __clone(int (*run)(void*), void* stack, int flags, void* argument, ...) noexcept {
  using Clone = int(int (*)(void*), void*, int, void*, void*, void*, void*);
  static auto* const real = next<Clone>("__clone");
  va_list more;
  va_start(more, argument);
  void* const parent_tid = va_arg(more, void*);
  void* const storage = va_arg(more, void*);
  void* const child_tid = va_arg(more, void*);
  va_end(more);
  if (fails(board().start_error.load())) return -1;
  return real(run, stack, flags, argument, parent_tid, storage, child_tid);
}

}  // extern "C"
