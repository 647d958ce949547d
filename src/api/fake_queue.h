#pragma once
// A queue for tests of the API: it holds one task, answers as it is told, and counts who watches.

#include <pthread.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <stdexcept>
#include <utility>
#include <vector>

#include "queue/queue.h"

namespace quern::api {

/// Threads: any.
class FakeQueue final : public Queue {
 public:
  enum class Answer { normal, fails, drops, throws, later };

  void answer_with(Answer answer, Error error = {}) {
    const std::scoped_lock lock(mutex_);
    answer_ = answer;
    error_ = std::move(error);
  }
  void set_task(TaskView task) {
    std::function<void()> changed;
    {
      const std::scoped_lock lock(mutex_);
      task_ = std::move(task);
      changed = changed_;
    }
    if (changed) changed();
  }
  Submission last_submission() {
    const std::scoped_lock lock(mutex_);
    return submission_;
  }
  /// The name of the thread that last called submit().
  std::string submit_thread() {
    const std::scoped_lock lock(mutex_);
    return submit_thread_;
  }
  void set_unwritable(std::string reason) {
    const std::scoped_lock lock(mutex_);
    stats_.writable = false;
    stats_.unwritable_reason = std::move(reason);
  }
  /// True when a reply waits, within a minute: with Answer::later.
  bool wait_for_reply() {
    std::unique_lock lock(mutex_);
    return something_changed_.wait_for(lock, std::chrono::minutes(1),
                                       [&] { return !later_.empty(); });
  }
  /// Gives the replies that wait.
  void reply_now() {
    std::unique_lock lock(mutex_);
    auto replies = std::exchange(later_, {});
    lock.unlock();
    for (auto& reply : replies) reply();
  }
  /// True when so many watch, within a minute.
  bool wait_for_watches(int count) {
    std::unique_lock lock(mutex_);
    return something_changed_.wait_for(lock, std::chrono::minutes(1),
                                       [&] { return watches_ == count; });
  }

  void submit(Submission submission, Reply<Submitted> reply) override {
    {
      const std::scoped_lock lock(mutex_);
      submission_ = std::move(submission);
      std::array<char, 16> name{};
      ::pthread_getname_np(::pthread_self(), name.data(), name.size());
      submit_thread_ = name.data();
    }
    settle(std::move(reply), [this] { return Submitted{task_.id, 0, false}; });
  }
  void find_replay(const IdempotencyKey&, Reply<std::optional<Submitted>> reply) override {
    settle(std::move(reply), [] { return std::optional<Submitted>(); });
  }
  void cancel(const TaskRef&, Reply<CancelAnswer> reply) override {
    settle(std::move(reply), [] { return CancelAnswer::requested; });
  }
  void find(const TaskQuery& query, Reply<TaskView> reply) override {
    std::unique_lock lock(mutex_);
    if (answer_ == Answer::normal && query.ref.id != task_.id) {
      lock.unlock();
      return reply(fail(ErrorCode::not_found, "no such task"));
    }
    lock.unlock();
    settle(std::move(reply), [this] { return task_; });
  }
  Watch watch(const TaskId&, WatchFor, std::function<void()> changed) override {
    const std::scoped_lock lock(mutex_);
    changed_ = std::move(changed);
    ++watches_;
    something_changed_.notify_all();
    return {this, [this](void*) {
              const std::scoped_lock inner(mutex_);
              --watches_;
              something_changed_.notify_all();
            }};
  }
  QueueStats stats() override {
    const std::scoped_lock lock(mutex_);
    return stats_;
  }

  void claim(ClaimRequest, Reply<std::vector<Claim>> reply) override { refuse(std::move(reply)); }
  void heartbeat(const Lease&, Beat, Reply<BeatAnswer> reply) override { refuse(std::move(reply)); }
  void finish(const Lease&, Outcome, Reply<TaskState> reply) override { refuse(std::move(reply)); }
  void list(const TaskFilter&, Reply<TaskPage> reply) override { refuse(std::move(reply)); }
  void retry(const TaskRef&, Reply<TaskState> reply) override { refuse(std::move(reply)); }
  void purge(const TaskRef&, Reply<bool> reply) override { refuse(std::move(reply)); }
  void pause(const std::string&, bool, Reply<bool> reply) override { refuse(std::move(reply)); }
  void configure(QueuePolicy, Reply<bool> reply) override { refuse(std::move(reply)); }
  void observe(QueueObserver*) override {}

 private:
  template <typename T, typename Make>
  void settle(Reply<T> reply, Make make) {
    std::unique_lock lock(mutex_);
    const Answer answer = answer_;
    const Error error = error_;
    Result<T> value = make();
    lock.unlock();
    if (answer == Answer::throws) throw std::runtime_error("the queue is out of order");
    if (answer == Answer::drops) return;
    if (answer == Answer::fails) return reply(std::unexpected(error));
    if (answer == Answer::later) {
      lock.lock();
      later_.push_back([reply = std::move(reply), value = std::move(value)]() mutable {
        reply(std::move(value));
      });
      return something_changed_.notify_all();
    }
    reply(std::move(value));
  }
  template <typename T>
  static void refuse(Reply<T> reply) {
    reply(fail(ErrorCode::internal, "not of this fake"));
  }

  std::mutex mutex_;  // guards what follows
  std::condition_variable something_changed_;
  Answer answer_ = Answer::normal;
  Error error_;
  TaskView task_;
  Submission submission_;
  std::string submit_thread_;
  QueueStats stats_;
  std::function<void()> changed_;
  int watches_ = 0;
  std::vector<std::move_only_function<void()>> later_;
};

}  // namespace quern::api
