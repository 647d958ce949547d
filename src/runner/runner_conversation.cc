#include "runner/runner_conversation.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

namespace quern {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t kReadBytes = 64U << 10U;  // a pipe's usual size
constexpr std::size_t kRestBytesMax =
    1U << 20U;  // of a dead program's pipe: the largest that Linux gives

constexpr std::chrono::seconds kReapInterval{5};

// Until `when`, in poll's terms: rounded up, so that it is not asked again before.
int poll_timeout(steady_clock::time_point when) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(when - steady_clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, std::numeric_limits<int>::max()));
}

}  // namespace

Result<FileDescriptor> Conversation::make_wake() {
  FileDescriptor wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.is_open()) return fail(ErrorCode::unavailable, ::strerrordesc_np(errno));
  return wake;
}

Conversation::Conversation(ChildProcess& child, ProgressSink& sink, const Clock& clock,
                           Options options)
    : child_(child),
      sink_(sink),
      clock_(clock),
      options_(std::move(options)),
      buffer_(std::make_unique_for_overwrite<char[]>(kReadBytes)),
      reap_at_(steady_clock::now() + kReapInterval) {}

Conversation::End Conversation::hold(std::stop_token stop) {
  {
    const std::stop_callback on_stop(stop, [this] { ::eventfd_write(options_.wake.get(), 1); });
    write_input();
    while (!exited_) {
      wait_for_news();
      follow_schedule();
    }
  }
  End end{.child = child_.end_tree(), .stopped = stop_seen_};
  read_rest(child_.stdout_fd, out_lines_, LogSeverity::stdout_);
  read_rest(child_.stderr_fd, err_lines_, LogSeverity::stderr_);
  // How a program failed that died in the midst of a line, its exit tells.
  if (torn_ && end.child.is_success()) hear_message(std::move(*torn_), 0);
  end.error = std::move(error_);
  end.error_first = error_first_;
  return end;
}

steady_clock::time_point Conversation::next_due() const {
  return std::min(reap_at_, kill_at_.value_or(term_at_.value_or(reap_at_)));
}

void Conversation::wait_for_news() {
  enum Source : std::size_t { input, output, error_output, exit, stop, count };
  std::array<pollfd, count> items{};
  items[input] = {.fd = child_.stdin_fd.get(), .events = POLLOUT, .revents = 0};
  items[output] = {.fd = child_.stdout_fd.get(), .events = POLLIN, .revents = 0};
  items[error_output] = {.fd = child_.stderr_fd.get(), .events = POLLIN, .revents = 0};
  items[exit] = {.fd = child_.exit_fd(), .events = POLLIN, .revents = 0};
  // A stop that was seen would wake us for ever.
  items[stop] = {.fd = stop_seen_ ? -1 : options_.wake.get(), .events = POLLIN, .revents = 0};
  if (::poll(items.data(), items.size(), poll_timeout(next_due())) <= 0) return;

  if (items[output].revents != 0) {
    read_some(child_.stdout_fd, out_lines_, LogSeverity::stdout_);
  }
  if (items[error_output].revents != 0) {
    read_some(child_.stderr_fd, err_lines_, LogSeverity::stderr_);
  }
  if (items[input].revents != 0) write_input();
  exited_ = items[exit].revents != 0;
  if (items[stop].revents != 0 && !exited_) {
    stop_seen_ = true;
    if (!kill_at_) begin_end();
  }
}

void Conversation::begin_end() {
  child_.signal_group(SIGTERM);
  child_.signal_group(SIGCONT);  // a program that is suspended would not hear it
  kill_at_ = steady_clock::now() + options_.grace;
}

void Conversation::follow_schedule() {
  const auto now = steady_clock::now();
  if (now >= reap_at_) {
    child_.reap_orphans();
    reap_at_ = now + kReapInterval;
  }
  if (kill_at_ && now >= *kill_at_) {
    exited_ = true;  // as good as: end_tree() kills
  } else if (!kill_at_ && term_at_ && now >= *term_at_) {
    begin_end();
  }
}

void Conversation::write_input() {
  while (child_.stdin_fd.is_open() && written_ < options_.input.size()) {
    const std::string_view rest = std::string_view(options_.input).substr(written_);
    const ssize_t wrote = ::write(child_.stdin_fd.get(), rest.data(), rest.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0 && errno == EAGAIN) return;
    if (wrote < 0) break;  // the program does not want it; how it ends will say whether that is bad
    written_ += static_cast<std::size_t>(wrote);
  }
  child_.stdin_fd = FileDescriptor();
  options_.input = {};
  written_ = 0;
}

bool Conversation::read_some(FileDescriptor& from, LineSplitter& splitter, LogSeverity severity) {
  const ssize_t got = ::read(from.get(), buffer_.get(), kReadBytes);
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return errno == EINTR;
  heard_at_ = clock_.now().wall;
  if (got <= 0) {
    hear_last_line(splitter, severity);
    from = FileDescriptor();
    return false;
  }
  splitter.feed({buffer_.get(), static_cast<std::size_t>(got)},
                [&](std::string_view line, bool cut) { hear_line(line, {.cut = cut}, severity); });
  return true;
}

// All writers are dead by now, but for one that could not be killed: hence the bound.
void Conversation::read_rest(FileDescriptor& from, LineSplitter& splitter, LogSeverity severity) {
  std::size_t reads = 0;
  while (from.is_open() && reads * kReadBytes <= kRestBytesMax * 2 &&
         read_some(from, splitter, severity)) {
    ++reads;
  }
  hear_last_line(splitter, severity);
}

void Conversation::hear_last_line(LineSplitter& splitter, LogSeverity severity) {
  splitter.finish([&](std::string_view line, bool cut) {
    hear_line(line, {.cut = cut, .torn = true}, severity);
  });
}

void Conversation::hear_line(std::string_view line, LineEnd end, LogSeverity severity) {
  std::optional<RunnerMessage> message;
  if (severity == LogSeverity::stdout_) {
    message = end.cut ? decode_broken_line(line, "is in a line of more than 4 MiB")
                      : decode_runner_line(line);
  }
  if (message && message->fault.empty()) return hear_message(std::move(*message), line.size());
  log(severity, line);
  if (end.cut && line.size() > kLogLineBytesMax) {
    log(LogSeverity::warn,
        "a line of more than 4 MiB was cut, and is no message: put long text into a file, and name "
        "its path",
        true);
  } else if (message) {
    log(LogSeverity::warn, "a line that looks like a message " + message->fault, true);
  }
  if (!message) return;
  if (end.torn) {
    torn_ = std::move(message);
  } else {
    hear_message(std::move(*message), line.size());
  }
}

void Conversation::hear_message(RunnerMessage message, std::size_t bytes) {
  if (message.progress) sink_.progress(*message.progress);
  if (message.log) log(message.log->severity, message.log->message);
  if (message.output) outputs_.add(std::move(*message.output), bytes);
  if (message.metadata) outputs_.add(std::move(*message.metadata), bytes);
  if (message.error && !error_) {
    error_ = std::move(message.error);
    error_first_ = !stop_seen_;
    term_at_ = steady_clock::now() + options_.grace;
  }
}

void Conversation::log(LogSeverity severity, std::string_view text, bool from_quern) {
  sink_.log({.time = heard_at_,
             .severity = severity,
             .from_quern = from_quern,
             .message = std::string(log_text(text, kLogLineBytesMax))});
}

}  // namespace quern
