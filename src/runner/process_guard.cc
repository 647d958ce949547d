#include "runner/process_guard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include "base/assert.h"
#include "base/log.h"
#include "runner/guard_process.h"

namespace quern {
namespace {

constexpr pid_t kFirstOfNamespace = 1;  // adopts every orphan, not only those of its descendants

Result<int> open_state_file(const std::filesystem::path& path) {
  // A new file, not the old one emptied: the guard of the last server may still have that one open.
  ::unlink(path.c_str());
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) {
    return fail(ErrorCode::unavailable,
                fmt::format("cannot write {}: {}", path.string(), std::strerror(errno)));
  }
  return fd;
}

GuardRecord record_of(GuardRecord::Kind kind, const ProcessMark& leader) {
  return {kind, leader.pid, leader.started, leader.tag};
}

void end_stale_trees(ProcessScan& scan, const std::filesystem::path& state_file) {
  const std::vector<ProcessMark> stale = read_guard_state(state_file);
  if (stale.empty()) return;
  log_warn("ending runners that an earlier server left behind",
           {{"trees", std::to_string(stale.size())}});
  if (const std::size_t alive = scan.kill_trees(stale, kTreeEndMax); alive > 0) {
    log_error("runners of an earlier server cannot be ended",
              {{"processes", std::to_string(alive)}});
  }
}

}  // namespace

Result<std::unique_ptr<ProcessGuard>> ProcessGuard::start(const std::filesystem::path& state_file) {
  std::unique_ptr<ProcessGuard> guard(new ProcessGuard);
  guard->scan_ = std::make_unique<ProcessScan>();
  end_stale_trees(*guard->scan_, state_file);
  const Result<int> state = open_state_file(state_file);
  if (!state) return std::unexpected(state.error());
  guard->state_fd_ = *state;
  ::signal(SIGPIPE, SIG_IGN);  // a pipe whose reader is gone is an ordinary error
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (Result<void> spawned = guard->spawn(); !spawned) return fail(std::move(spawned));
  if (const auto first = find_process(guard->guard_)) guard->began_ = first->started;
  return guard;
}

ProcessGuard::~ProcessGuard() {
  if (pipe_ >= 0) ::close(pipe_);
  if (guard_ > 0) {
    while (::waitpid(guard_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  if (state_fd_ >= 0) ::close(state_fd_);
}

Result<void> ProcessGuard::spawn() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail(ErrorCode::unavailable, fmt::format("no pipe: {}", std::strerror(errno)));
  }
  // Only our end must never block; the guard waits on its own.
  ::fcntl(ends[1], F_SETFL, O_NONBLOCK);
  const pid_t child = ::fork();
  if (child == 0) run_guard_process(ends[0], state_fd_, *scan_);
  const int error = errno;
  ::close(ends[0]);
  if (child < 0) {
    ::close(ends[1]);
    return fail(ErrorCode::unavailable, fmt::format("no guard process: {}", std::strerror(error)));
  }
  // The number of the pipe stays the same over a restart: children that just start use it unlocked.
  if (pipe_ >= 0) {
    ::dup3(ends[1], pipe_, O_CLOEXEC);
    ::close(ends[1]);
  } else {
    pipe_ = ends[1];
  }
  guard_ = child;
  return {};
}

void ProcessGuard::restart() {
  log_error("the guard process of the runners is gone; starting another");
  ::waitpid(guard_, nullptr, WNOHANG);
  ::ftruncate(state_fd_, 0);
  unsent_.clear();
  for (const ProcessMark& leader : leaders_) {
    unsent_.push_back(record_of(GuardRecord::Kind::add, leader));
  }
  if (const Result<void> spawned = spawn(); !spawned) {
    log_error("runners are not guarded", {{"reason", spawned.error().message}});
  }
}

// An end that follows an unsent beginning takes that back: what waits here is about trees that run
// or that the guard has heard of, however long it hears nothing.
void ProcessGuard::report(GuardRecord::Kind kind, const ProcessMark& leader) {
  const bool is_end = kind == GuardRecord::Kind::remove;
  const bool takes_back =
      is_end && std::erase(unsent_, record_of(GuardRecord::Kind::add, leader)) > 0;
  if (!takes_back) unsent_.push_back(record_of(kind, leader));
  send_unsent();
}

void ProcessGuard::send_unsent() {
  if (write_unsent()) return;
  restart();
  write_unsent();  // a guard that is gone again is found out by the next record
}

/// False: the guard is gone. One that is slow may leave some unsent.
bool ProcessGuard::write_unsent() {
  while (!unsent_.empty()) {
    if (::write(pipe_, &unsent_.front(), sizeof(GuardRecord)) < 0) return errno != EPIPE;
    unsent_.pop_front();
  }
  return true;
}

int ProcessGuard::pipe() const { return pipe_; }

pid_t ProcessGuard::pid() const {
  const std::scoped_lock lock(mutex_);
  return guard_;
}

void ProcessGuard::add(const ProcessMark& leader, bool reported) {
  const std::scoped_lock lock(mutex_);
  leaders_.insert(leader);
  if (!reported) report(GuardRecord::Kind::add, leader);
}

void ProcessGuard::remove(const ProcessMark& leader) {
  const std::scoped_lock lock(mutex_);
  leaders_.erase(leader);
  report(GuardRecord::Kind::remove, leader);
}

bool ProcessGuard::is_known(pid_t pid) const {
  if (pid == guard_) return true;
  const auto at = leaders_.lower_bound(ProcessMark{.pid = pid});
  return at != leaders_.end() && at->pid == pid;
}

bool ProcessGuard::is_orphan_of(const ProcessStat& stat, const ProcessMark& leader) {
  // Whoever started this server may have started others before it, in the same process.
  if (stat.started < began_) return false;
  if (stat.session == leader.pid) return true;
  const std::uint64_t tag = scan_->tag_of_process(stat.pid);
  if (tag != 0 && tag == leader.tag) return true;
  if (::getpid() == kFirstOfNamespace) return false;
  const bool alone = std::ranges::all_of(leaders_, [&](const auto& l) { return l == leader; });
  if (alone) {
    log_warn("ending an orphan that can only be that of the one runner",
             {{"pid", std::to_string(stat.pid)}, {"runner", std::to_string(leader.pid)}});
  }
  return alone;
}

std::vector<ProcessStat> ProcessGuard::adopted_orphans() {
  std::vector<pid_t> adopted;
  scan_->for_each_adopted([&](pid_t pid) {
    if (!is_known(pid)) adopted.push_back(pid);
  });
  std::vector<ProcessStat> orphans;
  const pid_t own_session = ::getsid(0);
  for (const pid_t pid : adopted) {
    const std::optional<ProcessStat> stat = find_process(pid);
    // Runners have sessions of their own: whoever is in ours was started by someone else in this
    // program.
    if (stat && stat->session != own_session) orphans.push_back(*stat);
  }
  return orphans;
}

std::vector<ProcessMark> ProcessGuard::find_orphans(const ProcessMark& leader) {
  std::vector<ProcessMark> orphans;
  for (const ProcessStat& stat : adopted_orphans()) {
    if (stat.dead) {
      ::waitpid(stat.pid, nullptr, WNOHANG);
    } else if (is_orphan_of(stat, leader)) {
      orphans.push_back({.pid = stat.pid, .started = stat.started});
    }
  }
  return orphans;
}

bool ProcessGuard::has_adopted() {
  const std::scoped_lock lock(mutex_);
  bool any = false;
  scan_->for_each_adopted([&](pid_t pid) { any = any || !is_known(pid); });
  return any;
}

void ProcessGuard::reap_orphans() {
  {
    const std::scoped_lock lock(mutex_);
    send_unsent();
  }
  if (!has_adopted()) return;
  const std::unique_lock no_starts(starts_);
  const std::scoped_lock lock(mutex_);
  for (const ProcessStat& stat : adopted_orphans()) {
    if (stat.dead) ::waitpid(stat.pid, nullptr, WNOHANG);
  }
}

bool ProcessGuard::end_orphans(const ProcessMark& leader) {
  if (!has_adopted()) return true;  // nearly always: then nothing is held up
  const std::unique_lock no_starts(starts_);
  const std::scoped_lock lock(mutex_);
  // An orphan that ends leaves us its own children: look until there are none.
  const auto give_up = std::chrono::steady_clock::now() + kTreeEndMax;
  for (;;) {
    const std::vector<ProcessMark> orphans = find_orphans(leader);
    if (orphans.empty()) return true;
    if (scan_->kill_trees(orphans, kTreeEndMax) > 0) return false;
    for (const ProcessMark& orphan : orphans) ::waitpid(orphan.pid, nullptr, WNOHANG);
    if (std::chrono::steady_clock::now() >= give_up) return false;
  }
}

}  // namespace quern
