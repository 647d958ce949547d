#include "queue/local/commit_thread.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/thread_name.h"

namespace quern {
namespace {

/// As long as a commit takes at most where disks are fast: there is nothing to gain on slow ones.
constexpr std::chrono::microseconds kAwakeForCommit{1'000};
/// Until the next request of a caller that sends one after the other.
constexpr std::chrono::microseconds kAwakeForNext{100};

bool is_lone_create(const std::vector<Command>& commands) {
  return commands.size() == 1 && std::holds_alternative<SubmitCommand>(commands.front());
}

}  // namespace

void CommitThread::start() {
  const std::scoped_lock lock(mutex_);
  if (thread_.joinable() || stopping_) return;
  waiting_.reserve(kBatchCommandsMax);
  thread_ = std::thread([this] { loop(); });
}

void CommitThread::stop() {
  std::thread thread;
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
    thread.swap(thread_);
  }
  wake_.notify_all();
  if (thread.joinable()) return thread.join();
  // Never started, or stopped already: there may still be commands of before.
  std::vector<Command> left;
  {
    const std::scoped_lock lock(mutex_);
    left.swap(waiting_);
  }
  if (!left.empty()) committer_.run(left);
}

const char* CommitThread::push(Command&& command) {
  bool notify = false;
  {
    const std::scoped_lock lock(mutex_);
    if (stopping_) return "the queue is stopped";
    if (waiting_.size() >= kCommandsWaitingMax) return "too many commands wait for the store";
    waiting_.push_back(std::move(command));
    notify = std::exchange(idle_, false);
  }
  if (notify) wake_.notify_one();
  return nullptr;
}

void CommitThread::wake() {
  {
    const std::scoped_lock lock(mutex_);
    woken_ = true;
  }
  wake_.notify_one();
}

void CommitThread::loop() {
  name_this_thread("quern-commit");
  std::vector<Command> commands;
  commands.reserve(kBatchCommandsMax);
  while (take(commands)) {
    run(commands);
    commands.clear();
    // Those who were answered, or still bring commands, may wait for this core: what they bring now
    // shares the next sync.
    std::this_thread::yield();
  }
  committer_.close();
}

void CommitThread::run(std::vector<Command>& commands) {
  const bool is_lone = is_lone_create(commands);
  // Nobody else keeps the core awake until the disk has answered, and then for the caller's next.
  if (is_lone) core_.keep_for(kAwakeForCommit);
  committer_.run(commands);
  if (is_lone) core_.keep_for(kAwakeForNext);
}

bool CommitThread::take(std::vector<Command>& commands) {
  std::unique_lock lock(mutex_);
  if (waiting_.empty() && !woken_ && !stopping_) wait(lock);
  if (waiting_.empty() && stopping_) return false;
  woken_ = false;
  commands.swap(waiting_);
  return true;
}

void CommitThread::wait(std::unique_lock<std::mutex>& lock) {
  const auto ready = [this] { return !waiting_.empty() || woken_ || stopping_; };
  const std::optional<SteadyTime> due = committer_.next_due();
  idle_ = true;
  if (due) {
    // At most an hour at a time keeps the sum inside the clock's range.
    const auto left = *due - clock_.now().steady;
    using std::chrono::microseconds;
    const auto longest = std::chrono::duration_cast<microseconds>(std::chrono::hours{1});
    wake_.wait_for(lock, std::clamp<microseconds>(left, microseconds{0}, longest), ready);
  } else {
    wake_.wait(lock, ready);
  }
  idle_ = false;
}

}  // namespace quern
