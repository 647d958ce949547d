#include "runner/guard_process.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace quern {
namespace {

// The state file: a line with the machine's boot id, then one line a tree, all of the same length,
// so that each can be written in its place: "<pid> <start> <tag>", or blank.
constexpr std::size_t kLineBytes = 64;
using Line = std::array<char, kLineBytes>;

Line make_line(std::string_view text) {
  Line line;
  line.fill(' ');
  line.back() = '\n';
  std::copy_n(text.begin(), std::min(text.size(), kLineBytes - 1), line.begin());
  return line;
}

Line make_line(const ProcessMark& mark) {
  Line line = make_line(std::string_view{});
  char* const end = line.data() + line.size();
  char* at = std::to_chars(line.data(), end, mark.pid).ptr;
  at = std::to_chars(at + 1, end, mark.started).ptr;
  std::to_chars(at + 1, end, mark.tag);
  return line;
}

std::string_view trim(std::string_view text) {
  const std::size_t last = text.find_last_not_of(" \n");
  return last == std::string_view::npos ? std::string_view{} : text.substr(0, last + 1);
}

// Process ids and start times say nothing about an earlier boot.
std::string_view read_boot_id(std::span<char> into) {
  const int fd = ::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  const ssize_t got = ::read(fd, into.data(), into.size());
  ::close(fd);
  return trim(std::string_view(into.data(), got > 0 ? static_cast<std::size_t>(got) : 0));
}

template <typename T>
bool take_number(std::string_view& text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (text.starts_with(' ')) text.remove_prefix(1);
  return true;
}

std::optional<ProcessMark> parse_line(std::string_view line) {
  ProcessMark mark;
  if (!take_number(line, mark.pid) || !take_number(line, mark.started) ||
      !take_number(line, mark.tag) || mark.pid <= 1) {
    return std::nullopt;
  }
  return mark;
}

// The trees that run, each with a place of its own, which is also its place in the file. A free
// place has pid 0.
class Guarded {
 public:
  Guarded(std::span<ProcessMark> places, int state_fd) : places_(places), state_fd_(state_fd) {
    std::array<char, kLineBytes> boot_id;
    write_line(0, make_line(read_boot_id(boot_id)));
  }

  void apply(const GuardRecord& record) {
    const ProcessMark mark{.pid = record.pid, .started = record.started, .tag = record.tag};
    if (record.kind == GuardRecord::Kind::add) {
      add(mark);
    } else {
      remove(mark);
    }
  }

  // Moves the trees together; the places no longer fit the file.
  std::span<const ProcessMark> collect() {
    const auto free =
        std::ranges::remove_if(places_.first(used_), [](const auto& m) { return m.pid == 0; });
    return places_.first(used_ - free.size());
  }

 private:
  void add(const ProcessMark& mark) {
    const std::size_t index = find(ProcessMark{});
    if (index == places_.size()) return;
    used_ = std::max(used_, index + 1);
    places_[index] = mark;
    write_line(index + 1, make_line(mark));
  }

  void remove(const ProcessMark& mark) {
    const std::size_t index = find(mark);
    if (index == used_) return;
    places_[index] = {};
    write_line(index + 1, make_line(std::string_view{}));
  }

  // The place of `mark`, else the first that was never taken.
  [[nodiscard]] std::size_t find(const ProcessMark& mark) const {
    const auto used = places_.first(used_);
    return static_cast<std::size_t>(std::ranges::find(used, mark) - used.begin());
  }

  void write_line(std::size_t number, const Line& line) const {
    // The file is the second line of defence: a full disk does not stop the first.
    if (::pwrite(state_fd_, line.data(), line.size(), static_cast<off_t>(number * kLineBytes)) < 0)
      return;
  }

  std::span<ProcessMark> places_;
  std::size_t used_ = 0;  // places behind were never taken
  int state_fd_;
};

// The server's signals, terminal, folder and files are none of the guard's business.
void leave_the_server(int& pipe, int& state_fd) {
  ::setsid();
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2}) {
    ::signal(signal, SIG_IGN);
  }
  ::prctl(PR_SET_NAME, "quern-guard");
  // Its news can wait until whoever wrote them, a program that starts or a slot that comes free, gives up the core.
  const sched_param none{};
  ::sched_setscheduler(0, SCHED_BATCH, &none);
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  // Out of the way of the numbers to be used, then onto them.
  const int pipe_copy = ::fcntl(pipe, F_DUPFD_CLOEXEC, 64);
  const int state_copy = ::fcntl(state_fd, F_DUPFD_CLOEXEC, 64);
  for (const int standard : {0, 1, 2}) ::dup2(null, standard);
  pipe = ::dup2(pipe_copy, 3);
  state_fd = ::dup2(state_copy, 4);
  ::close_range(5, ~0U, 0);  // an open listener or a locked file would outlive the server otherwise
  if (::chdir("/") != 0) return;
}

}  // namespace

void run_guard_process(int pipe, int state_fd, ProcessScan& scan) noexcept {
  leave_the_server(pipe, state_fd);
  void* memory = ::mmap(nullptr, kGuardedMax * sizeof(ProcessMark), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) ::_exit(1);
  Guarded guarded(std::span(static_cast<ProcessMark*>(memory), kGuardedMax), state_fd);

  std::array<GuardRecord, 128> records;
  for (;;) {
    const ssize_t got = ::read(pipe, records.data(), sizeof records);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    const std::size_t count = static_cast<std::size_t>(got) / sizeof(GuardRecord);
    for (const GuardRecord& record : std::span(records).first(count)) guarded.apply(record);
  }

  const std::span<const ProcessMark> left = guarded.collect();
  const bool all_ended = left.empty() || scan.kill_trees(left, kTreeEndMax) == 0;
  const bool emptied = all_ended && ::ftruncate(state_fd, 0) == 0;
  ::_exit(emptied ? 0 : 1);
}

std::vector<ProcessMark> read_guard_state(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::string line;
  std::array<char, kLineBytes> boot_id;
  if (!std::getline(in, line) || trim(line) != read_boot_id(boot_id) || trim(line).empty())
    return {};
  std::vector<ProcessMark> marks;
  while (marks.size() < kGuardedMax && std::getline(in, line)) {
    if (const auto mark = parse_line(line)) marks.push_back(*mark);
  }
  return marks;
}

}  // namespace quern
