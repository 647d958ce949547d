#include "runner/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/assert.h"

// glibc 2.36 forgot to say that these are C functions.
extern "C" {
#include <sys/pidfd.h>
}

namespace quern {
namespace {

constexpr std::size_t kProcessesMax = 65'536;  // of one picture
constexpr std::size_t kProcTextBytesMax = 128U
                                          << 10U;  // of a file of /proc; what is beyond is not seen
constexpr std::size_t kStatBytesMax = 1'024;

// Memory that costs nothing until it is touched, and no lock to get.
template <typename T>
T* map_memory(std::size_t count) {
  void* memory = ::mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  QUERN_ASSERT(memory != MAP_FAILED);
  return static_cast<T*>(memory);
}

// "/proc/<pid>/<file>" without an allocation.
class ProcPath {
 public:
  ProcPath(pid_t pid, std::string_view file) {
    char* end = put(text_.data(), "/proc/");
    end = std::to_chars(end, text_.data() + text_.size(), pid).ptr;
    end = put(end, file);
    *end = '\0';
  }
  [[nodiscard]] const char* c_str() const { return text_.data(); }

 private:
  static char* put(char* at, std::string_view text) {
    std::memcpy(at, text.data(), text.size());
    return at + text.size();
  }
  std::array<char, 64> text_;
};

// Bare system calls: also called in a new process that still has its parent's memory, but files of its own.
std::optional<std::string_view> read_text(const char* path, std::span<char> into) {
  const long fd = ::syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::size_t size = 0;
  while (size < into.size()) {
    const long got = ::syscall(SYS_read, fd, into.data() + size, into.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    size += static_cast<std::size_t>(got);
  }
  ::syscall(SYS_close, fd);
  return std::string_view(into.data(), size);
}

// The next number of `text`, which it is taken from.
template <typename T>
bool take_number(std::string_view& text, T& value) {
  const std::size_t start = text.find_first_not_of(' ');
  if (start == std::string_view::npos) return false;
  text.remove_prefix(start);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

void pause_for(std::chrono::nanoseconds time) {
  const timespec wait{.tv_sec = 0, .tv_nsec = time.count()};
  ::nanosleep(&wait, nullptr);
}

SteadyTime steady_now() {
  return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::steady_clock::now());
}

// The descriptor holds on to the process that has the id now; only then is its start time compared.
bool kill_exactly(const ProcessStat& process) {
  const int fd = ::pidfd_open(process.pid, 0);
  if (fd < 0) return errno != ESRCH;
  const std::optional<ProcessStat> now = find_process(process.pid);
  const bool same = now && now->started == process.started;
  if (same) ::pidfd_send_signal(fd, SIGKILL, nullptr, 0);
  ::close(fd);
  return same;
}

}  // namespace

std::optional<ProcessStat> parse_process_stat(std::string_view text) {
  ProcessStat stat;
  if (!take_number(text, stat.pid)) return std::nullopt;
  // The command may hold spaces and brackets of its own: the last bracket ends it.
  const std::size_t command_end = text.rfind(')');
  if (command_end == std::string_view::npos || command_end + 3 > text.size()) return std::nullopt;
  const char state = text[command_end + 2];
  stat.dead = state == 'Z' || state == 'X';
  text.remove_prefix(command_end + 3);
  if (!take_number(text, stat.parent) || !take_number(text, stat.group) ||
      !take_number(text, stat.session)) {
    return std::nullopt;
  }
  // Fields 7 to 21 are of no interest; the 22nd is the start.
  for (int field = 7; field <= 21; ++field) {
    long long passed = 0;
    if (!take_number(text, passed)) return std::nullopt;
  }
  if (!take_number(text, stat.started)) return std::nullopt;
  return stat;
}

std::optional<ProcessStat> find_process(pid_t pid) {
  std::array<char, kStatBytesMax> buffer;
  const auto text = read_text(ProcPath(pid, "/stat").c_str(), buffer);
  if (!text) return std::nullopt;
  return parse_process_stat(*text);
}

std::uint64_t tag_of(std::string_view tmpdir) {
  std::uint64_t hash =
      0xcbf29ce484222325ULL;  // FNV-1a: no secret, only a short stand-in for a long path
  for (const char c : tmpdir) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash == 0 ? 1 : hash;
}

ProcessScan::ProcessScan()
    : entries_(map_memory<Entry>(kProcessesMax)), text_(map_memory<char>(kProcTextBytesMax)) {}

ProcessScan::~ProcessScan() {
  ::munmap(entries_, kProcessesMax * sizeof(Entry));
  ::munmap(text_, kProcTextBytesMax);
}

std::uint64_t ProcessScan::tag_of_process(pid_t pid) {
  const auto environment =
      read_text(ProcPath(pid, "/environ").c_str(), std::span(text_, kProcTextBytesMax));
  if (!environment) return 0;
  constexpr std::string_view kName = "TMPDIR=";
  std::string_view rest = *environment;
  while (!rest.empty()) {
    const std::string_view variable = rest.substr(0, rest.find('\0'));
    if (variable.starts_with(kName)) return tag_of(variable.substr(kName.size()));
    rest.remove_prefix(std::min(variable.size() + 1, rest.size()));
  }
  return 0;
}

std::optional<std::string_view> ProcessScan::read_adopted() {
  std::array<char, 32> file;
  const std::string_view prefix = "/task/";
  std::memcpy(file.data(), prefix.data(), prefix.size());
  char* end = std::to_chars(file.data() + prefix.size(), file.data() + 20, ::getpid()).ptr;
  const std::string_view suffix = "/children";
  std::memcpy(end, suffix.data(), suffix.size());
  end += suffix.size();
  const std::string_view name(file.data(), static_cast<std::size_t>(end - file.data()));
  return read_text(ProcPath(::getpid(), name).c_str(), std::span(text_, kProcTextBytesMax));
}

void ProcessScan::take(bool with_tags) {
  count_ = 0;
  const int folder = ::open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  alignas(dirent64) std::array<char, 16'384> buffer;
  for (;;) {
    const long got = ::syscall(SYS_getdents64, folder, buffer.data(), buffer.size());
    if (got <= 0) break;
    for (long at = 0; at < got;) {
      const auto* item = reinterpret_cast<const dirent64*>(buffer.data() + at);
      at += item->d_reclen;
      std::string_view name(item->d_name);
      pid_t pid = 0;
      if (!take_number(name, pid) || !name.empty() || count_ == kProcessesMax) continue;
      const std::optional<ProcessStat> stat = find_process(pid);
      if (!stat) continue;
      entries_[count_++] = {.stat = *stat, .tag = with_tags ? tag_of_process(pid) : 0};
    }
  }
  ::close(folder);
}

bool ProcessScan::belongs(const Entry& entry, const ProcessMark& mark, bool leader_stands) const {
  if (entry.stat.started < mark.started) return false;
  if (mark.tag != 0 && entry.tag == mark.tag) return true;
  // Without its leader the number of a group may by now be someone else's.
  return leader_stands && (entry.stat.group == mark.pid || entry.stat.session == mark.pid);
}

void ProcessScan::doom(std::span<const ProcessMark> marks) {
  const pid_t self = ::getpid();
  for (const ProcessMark& mark : marks) {
    bool leader_stands = false;
    for (std::size_t i = 0; i < count_ && !leader_stands; ++i) {
      leader_stands = entries_[i].stat.pid == mark.pid && entries_[i].stat.started == mark.started;
      if (leader_stands) entries_[i].doomed = true;
    }
    for (std::size_t i = 0; i < count_; ++i) {
      if (entries_[i].stat.pid != self && belongs(entries_[i], mark, leader_stands)) {
        entries_[i].doomed = true;
      }
    }
  }
}

void ProcessScan::doom_descendants() {
  const pid_t self = ::getpid();
  for (bool more = true; more;) {
    more = false;
    for (std::size_t k = 0; k < count_; ++k) {
      if (!entries_[k].doomed || entries_[k].expanded) continue;
      entries_[k].expanded = true;
      for (std::size_t i = 0; i < count_; ++i) {
        Entry& child = entries_[i];
        if (child.stat.parent != entries_[k].stat.pid || child.stat.pid == self) continue;
        more = more || !child.doomed;
        child.doomed = true;
      }
    }
  }
}

std::size_t ProcessScan::kill_doomed() {
  std::size_t alive = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    const Entry& entry = entries_[i];
    if (entry.doomed && !entry.stat.dead && kill_exactly(entry.stat)) ++alive;
  }
  return alive;
}

std::size_t ProcessScan::kill_trees(std::span<const ProcessMark> marks,
                                    std::chrono::milliseconds patience) {
  bool with_tags = false;
  for (const ProcessMark& mark : marks) with_tags = with_tags || mark.tag != 0;
  const SteadyTime give_up = steady_now() + patience;
  for (;;) {
    take(with_tags);
    doom(marks);
    doom_descendants();
    const std::size_t alive = kill_doomed();
    if (alive == 0 || steady_now() >= give_up) return alive;
    pause_for(std::chrono::milliseconds(2));
  }
}

}  // namespace quern
