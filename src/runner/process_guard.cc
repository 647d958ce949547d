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
#include <optional>
#include <string>
#include <system_error>
#include <thread>

#include "base/assert.h"
#include "base/log.h"
#include "runner/guard_process.h"

namespace quern {
namespace {

constexpr pid_t kFirstOfNamespace = 1;  // adopts every orphan, not only those of its descendants
constexpr std::chrono::milliseconds kDeathLook{2};  // for those that were killed

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

ProcessMark mark_of(const ProcessStat& stat) { return {.pid = stat.pid, .started = stat.started}; }

/// Not reaped, at least.
bool is_there(const ProcessMark& process) {
  const std::optional<ProcessStat> stat = find_process(process.pid);
  return stat && stat->started == process.started;
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
  end_stale_trees(guard->scan_, state_file);
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
  // One that carries no sign of its runner may have come to us after the last look.
  if (guard_ > 0) end_orphans({});
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
  if (child == 0) run_guard_process(ends[0], state_fd_, scan_);
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
  for (const auto* trees : {&leaders_, &ending_}) {
    for (const ProcessMark& leader : *trees) {
      unsent_.push_back(record_of(GuardRecord::Kind::add, leader));
    }
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

// Whoever leaves last finds that no runner is left, however many end at once. A leader that was not reaped by now
// could not be killed.
void ProcessGuard::leave(const ProcessMark& leader) {
  const std::scoped_lock lock(mutex_);
  ending_.insert(leaders_.extract(leader));
  const ProcessMark process{.pid = leader.pid, .started = leader.started};
  if (is_there(process)) given_up_.insert(process);
}

void ProcessGuard::remove(const ProcessMark& leader) {
  const std::scoped_lock lock(mutex_);
  leaders_.erase(leader);
  ending_.erase(leader);
  report(GuardRecord::Kind::remove, leader);
}

bool ProcessGuard::is_known(pid_t pid) const {
  if (pid == guard_) return true;
  const auto at = leaders_.lower_bound(ProcessMark{.pid = pid});
  return at != leaders_.end() && at->pid == pid;
}

// One that has ended after all is to be reaped as any other.
bool ProcessGuard::is_given_up(pid_t pid) const {
  const auto at = given_up_.lower_bound(ProcessMark{.pid = pid});
  if (at == given_up_.end() || at->pid != pid) return false;
  const std::optional<ProcessStat> stat = find_process(pid);
  return stat && stat->started == at->started && !stat->dead;
}

bool ProcessGuard::has_adopted() {
  const std::scoped_lock lock(mutex_);
  bool any = false;
  scan_.for_each_adopted([&](pid_t pid) { any = any || (!is_known(pid) && !is_given_up(pid)); });
  return any;
}

std::vector<ProcessStat> ProcessGuard::list_adopted() {
  std::vector<pid_t> pids;
  scan_.for_each_adopted([&](pid_t pid) {
    if (!is_known(pid)) pids.push_back(pid);
  });
  std::vector<ProcessStat> adopted;
  const pid_t own_session = ::getsid(0);
  for (const pid_t pid : pids) {
    const std::optional<ProcessStat> stat = find_process(pid);
    // Runners have sessions of their own: whoever is in ours was started by someone else in this
    // program.
    if (stat && stat->session != own_session) adopted.push_back(*stat);
  }
  return adopted;
}

// The only place where orphans are reaped: as no runner starts meanwhile, and none is known to have such a number, the
// number of a dead one is nobody else's.
ProcessGuard::Adopted ProcessGuard::reap_adopted() {
  const std::unique_lock no_starts(starts_);
  const std::scoped_lock lock(mutex_);
  Adopted adopted{.is_runner_left = !leaders_.empty()};
  for (const ProcessStat& stat : list_adopted()) {
    if (stat.dead) {
      ::waitpid(stat.pid, nullptr, WNOHANG);
    } else if (!given_up_.contains(mark_of(stat))) {
      adopted.alive.push_back(stat);
    }
  }
  std::erase_if(given_up_, [](const ProcessMark& process) { return !is_there(process); });
  return adopted;
}

void ProcessGuard::reap_orphans() {
  {
    const std::scoped_lock lock(mutex_);
    send_unsent();
  }
  if (has_adopted()) reap_adopted();
}

bool ProcessGuard::is_orphan_of(const ProcessStat& stat, const ProcessMark& leader,
                                bool is_runner_left) {
  // Whoever started this server may have started others before it, in the same process.
  if (stat.started < began_) return false;
  if (leader.pid != 0 && stat.session == leader.pid) return true;
  const std::uint64_t tag = killing_scan_.tag_of_process(stat.pid);
  if (tag != 0 && tag == leader.tag) return true;
  if (is_runner_left || ::getpid() == kFirstOfNamespace) return false;
  log_warn("ending an orphan of a runner, now that none is left that it could be of",
           {{"pid", std::to_string(stat.pid)}});
  return true;
}

std::vector<ProcessMark> ProcessGuard::find_orphans(const ProcessMark& leader) {
  const Adopted adopted = reap_adopted();
  std::vector<ProcessMark> orphans;
  const std::scoped_lock lock(killing_);
  for (const ProcessStat& stat : adopted.alive) {
    if (is_orphan_of(stat, leader, adopted.is_runner_left)) orphans.push_back(mark_of(stat));
  }
  return orphans;
}

std::vector<ProcessMark> ProcessGuard::kill(const std::vector<ProcessMark>& orphans) {
  std::vector<ProcessMark> alive;
  const std::scoped_lock lock(killing_);
  if (killing_scan_.kill_trees(orphans, std::chrono::milliseconds(0)) == 0) return alive;
  killing_scan_.for_each_survivor([&](const ProcessStat& stat) { alive.push_back(mark_of(stat)); });
  return alive;
}

void ProcessGuard::give_up(const std::vector<ProcessMark>& processes) {
  const std::scoped_lock lock(mutex_);
  for (const ProcessMark& process : processes) {
    if (!given_up_.insert(process).second) continue;
    log_error("a process that a runner left behind cannot be killed and is given up",
              {{"pid", std::to_string(process.pid)}});
  }
}

bool ProcessGuard::end_trees(const std::vector<ProcessMark>& orphans) {
  const auto end_by = std::chrono::steady_clock::now() + kTreeEndMax;
  for (;;) {
    const std::vector<ProcessMark> alive = kill(orphans);
    if (alive.empty()) return true;
    if (std::chrono::steady_clock::now() >= end_by) {
      give_up(alive);
      return false;
    }
    std::this_thread::sleep_for(kDeathLook);
  }
}

bool ProcessGuard::end_orphans(const ProcessMark& leader) {
  leave(leader);
  if (!has_adopted()) return true;  // nearly always: then nothing is held up
  // An orphan that ends leaves us its own children: look until there are none.
  const auto end_by = std::chrono::steady_clock::now() + kTreeEndMax;
  for (;;) {
    const std::vector<ProcessMark> orphans = find_orphans(leader);
    if (orphans.empty()) return true;
    if (!end_trees(orphans)) return false;
    if (std::chrono::steady_clock::now() >= end_by) {
      log_error("what a runner left behind starts processes faster than they end",
                {{"pid", std::to_string(orphans.front().pid)}});
      return false;
    }
  }
}

}  // namespace quern
