#include "artifact/measure_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <utility>

#include "artifact/file_descriptor.h"
#include "artifact/file_ops.h"
#include "base/c_strings.h"
#include "base/log.h"

namespace quern {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

constexpr rlim_t kProcessorSeconds = 5;
constexpr rlim_t kMemoryBytes = rlim_t{1} << 30U;
constexpr std::size_t kAnswerBytesMax = 200;
constexpr milliseconds kLook{50};  // for a stop

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kIsMemoryLimited = false;  // a sanitizer takes terabytes of addresses
#else
constexpr bool kIsMemoryLimited = true;
#endif

void limit(decltype(RLIMIT_CPU) what, rlim_t most) {
  const rlimit limits{.rlim_cur = most, .rlim_max = most};
  ::setrlimit(what, &limits);
}

std::string to_line(const MediaMeasures& found) {
  return fmt::format("{} {} {} {:d} {:d}\n", found.width, found.height, found.duration,
                     found.has_video, found.has_audio);
}

template <typename Number>
bool take(std::string_view& line, Number& into) {
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), into);
  if (error != std::errc()) return false;
  line.remove_prefix(static_cast<std::size_t>(end - line.data()));
  if (line.empty() || (line.front() != ' ' && line.front() != '\n')) return false;
  line.remove_prefix(1);
  return true;
}

/// It comes from a process that has read a hostile file: only what can be such a line is one.
std::optional<MediaMeasures> parse_line(std::string_view line) {
  MediaMeasures found;
  std::uint8_t has_video = 0;
  std::uint8_t has_audio = 0;
  const bool is_whole = take(line, found.width) && take(line, found.height) &&
                        take(line, found.duration) && take(line, has_video) &&
                        take(line, has_audio) && line.empty();
  if (!is_whole || !std::isfinite(found.duration) || found.duration < 0) return std::nullopt;
  found.has_video = has_video != 0;
  found.has_audio = has_audio != 0;
  return found;
}

/// A process and what it writes.
class Child {
 public:
  static Result<Child> start(const std::vector<std::string>& command, int input);
  Child(Child&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), out_(std::move(other.out_)) {}
  Child& operator=(Child&&) = delete;
  /// Kills it unless it has ended.
  ~Child() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  /// Until it closes its output, or time is up.
  std::string read(SteadyClock::time_point until, const std::stop_token& stop);

 private:
  Child(pid_t pid, FileDescriptor out) : pid_(pid), out_(std::move(out)) {}

  pid_t pid_ = -1;
  FileDescriptor out_;
};

/// Nothing of ours that a hostile file could be after.
std::vector<std::string> environment() {
  const char* const libraries = std::getenv("LD_LIBRARY_PATH");
  if (libraries == nullptr) return {};
  return {fmt::format("LD_LIBRARY_PATH={}", libraries)};
}

Result<Child> Child::start(const std::vector<std::string>& command, int input) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return io_failure(errno, "measuring a file");
  FileDescriptor out(ends[0]);
  const FileDescriptor in(ends[1]);
  ::fcntl(out.get(), F_SETFL, O_NONBLOCK);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, in.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  sigset_t none;
  sigset_t all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  // A group of its own: what is sent to the server's, by a terminal say, is not for it.
  ::posix_spawnattr_setpgroup(&attributes, 0);
  ::posix_spawnattr_setflags(
      &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  const std::vector<std::string> variables = environment();
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, command.front().c_str(), &actions, &attributes,
                                  c_strings(command).data(), c_strings(variables).data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) return io_failure(error, "measuring a file");
  return Child(pid, std::move(out));
}

std::string Child::read(SteadyClock::time_point until, const std::stop_token& stop) {
  std::string answer;
  std::array<char, kAnswerBytesMax> bytes{};
  while (answer.size() < kAnswerBytesMax && !stop.stop_requested() && SteadyClock::now() < until) {
    pollfd item{.fd = out_.get(), .events = POLLIN, .revents = 0};
    ::poll(&item, 1, static_cast<int>(kLook.count()));
    const ssize_t got = ::read(out_.get(), bytes.data(), bytes.size());
    if (got == 0) break;
    if (got > 0) answer.append(bytes.data(), static_cast<std::size_t>(got));
  }
  return answer;
}

}  // namespace

MeasureMedia measure_by_process(std::vector<std::string> command, milliseconds patience) {
  return [command = std::move(command), patience](
             int fd, const std::stop_token& stop) -> Result<MediaMeasures> {
    Result<Child> child = Child::start(command, fd);
    if (!child && child.error().retry_after == kShortageRetryAfter) return fail(std::move(child));
    std::optional<MediaMeasures> found;
    if (child) found = parse_line(child->read(SteadyClock::now() + patience, stop));
    if (!found && stop.stop_requested()) return fail(ErrorCode::unavailable, "stopped");
    if (!found) {
      log_warn("a file could not be measured",
               {{"reason",
                 child ? "it ended without an answer, or took too long" : child.error().message}});
    }
    return found.value_or(MediaMeasures{});
  };
}

int run_measure_process() {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_CPU, kProcessorSeconds);
  if (kIsMemoryLimited) limit(RLIMIT_AS, kMemoryBytes);
  const Result<MediaMeasures> found = measure_media(STDIN_FILENO);
  const std::string line = found ? to_line(*found) : "";
  const bool is_told = found && ::write(STDOUT_FILENO, line.data(), line.size()) ==
                                    static_cast<ssize_t>(line.size());
  ::_exit(is_told ? 0 : 1);  // without its ending: there is nothing to be kept
}

}  // namespace quern
