#include "runner/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>

#include "artifact/file_ops.h"
#include "base/c_strings.h"
#include "base/descriptor_limit.h"
#include "base/log.h"

// The C library's clone() under the name that sanitizers do not replace: ThreadSanitizer takes any clone for a fork
// with memory of its own, and forgets all about this thread's locks.
extern "C" int __clone(int (*run)(void*), void* stack, int flags, void* argument, ...) noexcept;

namespace quern {
namespace {

constexpr std::size_t kChildStackBytes =
    64U << 10U;  // until the program starts; its own is the system's default
constexpr int kSignalMax = 64;

// On what runs between clone and exec: a sanitizer's books are the parent's, and would be wrong ever after.
#define QUERN_IN_CHILD __attribute__((no_sanitize("address", "thread")))

// What the new process needs before its program starts. It shares this memory: no copies, and
// errors come back.
struct Launch {
  const char* program = nullptr;
  char* const* arguments = nullptr;
  char* const* environment = nullptr;
  const char* folder = nullptr;
  int input = -1;
  int output = -1;
  int error_output = -1;
  int guard_pipe = -1;
  rlimit descriptors{};
  std::uint64_t tag = 0;
  mode_t umask = 0;

  // Answers.
  std::uint64_t started = 0;
  bool reported = false;
  const char* failed_step = nullptr;
  int failed_errno = 0;
};

QUERN_IN_CHILD int give_up(Launch& launch, const char* step) {
  launch.failed_step = step;
  launch.failed_errno = errno;
  ::syscall(SYS_exit, 127);
  return 127;
}

QUERN_IN_CHILD void report_to_guard(Launch& launch, pid_t pid) {
  if (const std::optional<ProcessStat> self = find_process(pid)) launch.started = self->started;
  const GuardRecord record{GuardRecord::Kind::add, pid, launch.started, launch.tag};
  launch.reported =
      ::syscall(SYS_write, launch.guard_pipe, &record, sizeof record) == sizeof record;
}

// A server's ignored and blocked signals are inherited by programs, and would surprise them.
QUERN_IN_CHILD void reset_signals() {
  alignas(8) const std::array<char, 64> zero{};  // a kernel sigaction of SIG_DFL, and an empty mask
  for (int signal = 1; signal <= kSignalMax; ++signal) {
    ::syscall(SYS_rt_sigaction, signal, zero.data(), nullptr, kSignalMax / 8);
  }
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, zero.data(), nullptr, kSignalMax / 8);
}

// Runs in the new process, on a stack of its own but in the parent's memory, while the parent's
// thread waits. Bare system calls: the C library's wrappers would change state that belongs to the
// parent.
QUERN_IN_CHILD int launch_program(void* argument) {
  Launch& launch = *static_cast<Launch*>(argument);
  ::syscall(SYS_setsid);
  report_to_guard(launch, static_cast<pid_t>(::syscall(SYS_getpid)));
  ::syscall(SYS_dup3, launch.input, 0, 0);
  ::syscall(SYS_dup3, launch.output, 1, 0);
  ::syscall(SYS_dup3, launch.error_output, 2, 0);
  ::syscall(SYS_close_range, 3, ~0U,
            0);  // also what this server was given open by whoever started it
  ::syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &launch.descriptors, nullptr);
  if (::syscall(SYS_chdir, launch.folder) != 0) return give_up(launch, "its folder");
  reset_signals();
  ::syscall(SYS_umask, launch.umask);  // which is not shared, unlike the memory
  ::syscall(SYS_execve, launch.program, launch.arguments, launch.environment);
  return give_up(launch, nullptr);
}

struct Pipe {
  FileDescriptor read;
  FileDescriptor write;
};

// Never one of the numbers 0 to 2, which the new process overwrites.
FileDescriptor above_standard(int fd) {
  if (fd > 2) return FileDescriptor(fd);
  const int moved = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  ::close(fd);
  return FileDescriptor(moved);
}

Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0)
    return fail(ErrorCode::unavailable, ::strerrordesc_np(errno));
  return Pipe{above_standard(ends[0]), above_standard(ends[1])};
}

void make_nonblocking(const FileDescriptor& fd) { ::fcntl(fd.get(), F_SETFL, O_NONBLOCK); }

std::string_view find_variable(std::span<const std::string> environment, std::string_view name) {
  for (const std::string_view variable : environment) {
    if (variable.starts_with(name) && variable.substr(name.size()).starts_with('=')) {
      return variable.substr(name.size() + 1);
    }
  }
  return {};
}

// Folders may be executable, too.
bool is_program(const std::filesystem::path& place) {
  struct stat status{};
  return ::stat(place.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
         ::access(place.c_str(), X_OK) == 0;
}

// As a shell in its folder finds it. Not found: the name as it is, so that the start itself fails and says why.
std::string find_program(const ChildSpec& spec) {
  const std::string& name = spec.command.front();
  if (name.find('/') != std::string::npos) return name;
  std::string_view path = find_variable(spec.environment, "PATH");
  while (!path.empty()) {
    const std::string_view folder = path.substr(0, path.find(':'));
    path.remove_prefix(std::min(folder.size() + 1, path.size()));
    if (folder.empty()) continue;
    std::string candidate = fmt::format("{}/{}", folder, name);
    if (is_program(spec.folder / candidate)) return candidate;
  }
  return name;
}

// Signals wait while the new process shares our memory: a handler of ours must not run there.
class AllSignalsBlocked {
 public:
  AllSignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~AllSignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

Error describe_failure(const ChildSpec& spec, const Launch& launch) {
  const std::filesystem::path program(spec.command.front());
  const std::string shown = program.is_absolute() ? program.filename().string() : program.string();
  const std::string why = ::strerrordesc_np(launch.failed_errno);
  // A want of the machine passes, and is nothing that is wrong with the program.
  const ErrorCode code =
      is_shortage(launch.failed_errno) ? ErrorCode::unavailable : ErrorCode::invalid_argument;
  if (launch.failed_step == nullptr) {
    return {code, fmt::format("could not start {}: {}", shown, why)};
  }
  return {code, fmt::format("could not start {}: {}: {}", shown, launch.failed_step, why)};
}

struct Started {
  pid_t pid = -1;
  FileDescriptor exit;
};

Result<Started> clone_and_launch(Launch& launch) {
  const auto stack = std::make_unique_for_overwrite<std::byte[]>(kChildStackBytes);
  const AllSignalsBlocked blocked;
  int exit_fd = -1;
  // The stack grows downwards, and its end is aligned.
  const auto top =
      (reinterpret_cast<std::uintptr_t>(stack.get()) + kChildStackBytes) & ~std::uintptr_t{63};
  const pid_t pid = ::__clone(launch_program, reinterpret_cast<void*>(top),
                              CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &launch, &exit_fd);
  if (pid < 0) {
    return fail(ErrorCode::unavailable,
                fmt::format("could not make a process: {}", ::strerrordesc_np(errno)));
  }
  return Started{pid, FileDescriptor(exit_fd)};
}

bool wait_readable(int fd, std::chrono::milliseconds patience) {
  pollfd item{.fd = fd, .events = POLLIN, .revents = 0};
  for (;;) {
    const int ready = ::poll(&item, 1, static_cast<int>(patience.count()));
    if (ready >= 0 || errno != EINTR) return ready > 0;
  }
}

}  // namespace

std::string ChildEnd::describe() const {
  if (exited) return fmt::format("exit {}", code);
  const char* name = ::sigdescr_np(code);
  return fmt::format("signal {} ({})", code, name != nullptr ? name : "unknown");
}

Result<ChildProcess> ChildProcess::start(const ChildSpec& spec, ProcessGuard& guard) {
  Result<Pipe> in = make_pipe();
  Result<Pipe> out = make_pipe();
  Result<Pipe> err = make_pipe();
  for (Result<Pipe>* pipe : {&in, &out, &err}) {
    if (!*pipe) return fail(std::move(*pipe));
  }
  const std::string program = find_program(spec);
  const std::vector<char*> arguments = c_strings(spec.command);
  const std::vector<char*> environment = c_strings(spec.environment);
  const std::string folder = spec.folder.string();
  Launch launch{.program = program.c_str(),
                .arguments = arguments.data(),
                .environment = environment.data(),
                .folder = folder.c_str(),
                .input = in->read.get(),
                .output = out->write.get(),
                .error_output = err->write.get(),
                .guard_pipe = guard.pipe(),
                .descriptors = program_descriptor_limit(),
                .tag = spec.tag,
                .umask = spec.umask};

  const auto lock = guard.start_lock();
  Result<Started> started = clone_and_launch(launch);
  if (!started) return fail(std::move(started));
  const ProcessMark mark{.pid = started->pid, .started = launch.started, .tag = spec.tag};
  if (launch.failed_errno != 0) {
    ::waitpid(mark.pid, nullptr, 0);
    if (launch.reported) guard.remove(mark);
    return std::unexpected(describe_failure(spec, launch));
  }
  guard.add(mark, launch.reported);
  ChildProcess child(guard, mark, std::move(started->exit));
  child.stdin_fd = std::move(in->write);
  child.stdout_fd = std::move(out->read);
  child.stderr_fd = std::move(err->read);
  for (const FileDescriptor* fd : {&child.stdin_fd, &child.stdout_fd, &child.stderr_fd})
    make_nonblocking(*fd);
  return child;
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : stdin_fd(std::move(other.stdin_fd)),
      stdout_fd(std::move(other.stdout_fd)),
      stderr_fd(std::move(other.stderr_fd)),
      guard_(std::exchange(other.guard_, nullptr)),
      mark_(other.mark_),
      exit_(std::move(other.exit_)) {}

ChildProcess::~ChildProcess() {
  if (guard_ != nullptr) end_tree();
}

void ChildProcess::signal_group(int signal) const {
  if (guard_ != nullptr) ::kill(-mark_.pid, signal);
}

bool ChildProcess::reap_group() const {
  // Members whose parents died are ours to reap by now; SIGKILL has reached them all, and takes a
  // moment.
  const auto give_up = std::chrono::steady_clock::now() + kTreeEndMax;
  for (;;) {
    const pid_t reaped = ::waitpid(-mark_.pid, nullptr, WNOHANG);
    if (reaped > 0 || (reaped < 0 && errno == EINTR)) continue;
    if (reaped < 0) return true;
    if (std::chrono::steady_clock::now() >= give_up) return false;
    const timespec moment{.tv_sec = 0, .tv_nsec = 200'000};
    ::nanosleep(&moment, nullptr);
  }
}

ChildEnd ChildProcess::end_tree() {
  ProcessGuard& guard = *std::exchange(guard_, nullptr);
  ChildEnd end;
  // Until the leader is reaped, its number cannot become another group's.
  ::kill(-mark_.pid, SIGKILL);
  siginfo_t info{};
  if (wait_readable(exit_.get(), kTreeEndMax) &&
      ::waitid(P_PIDFD, static_cast<id_t>(exit_.get()), &info, WEXITED) == 0) {
    end.exited = info.si_code == CLD_EXITED;
    end.code = info.si_status;
    end.all_dead = reap_group();
  } else {
    end.code = SIGKILL;
    end.all_dead = false;
  }
  if (!end.all_dead) {
    log_error("a runner cannot be killed", {{"pid", std::to_string(mark_.pid)}});
  }
  if (!guard.end_orphans(mark_)) end.all_dead = false;
  guard.remove(mark_);
  return end;
}

}  // namespace quern
