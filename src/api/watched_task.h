#pragma once
// A task that someone looks at until it changes: what held answers and event streams have in
// common.

#include <chrono>
#include <memory>
#include <mutex>

#include "api/context.h"
#include "api/live_calls.h"
#include "queue/queue.h"

namespace quern::api {

/// Looks at the task after each change of it, one look at a time and at most one every kLookEvery,
/// so that a thousand changes a second cost as much as forty. Threads: any.
class WatchedTask : public LiveCall, public std::enable_shared_from_this<WatchedTask> {
 public:
  static constexpr std::chrono::milliseconds kLookEvery{25};

  WatchedTask(Context& context, TaskQuery query, WatchFor what);

  /// Watches, and looks once. Call when the object is owned by a shared_ptr. False: too many are
  /// open, or a reload took the caller's key away.
  bool begin();
  [[nodiscard]] const std::string& key() const override { return query_.ref.key; }

 protected:
  using Time = Timers::Time;

  /// What a look showed. Never two at a time.
  virtual void on_view(Result<TaskView> view) = 0;

  void look_now();
  /// One more look, which sees whatever has happened until now; is_last() is true for what it shows.
  void look_last();
  [[nodiscard]] bool is_last();
  /// Looks at `when`, unless a look is due before that.
  void look_at(Time when);
  /// No more looks. Idempotent.
  void finish();

  Context& context_;
  const TaskQuery query_;

 private:
  void on_change();
  bool begin_look(bool last);  // false: none is to begin now
  void look();
  void on_look_over();

  const WatchFor what_;
  std::mutex mutex_;  // guards what follows
  bool looking_ = false;
  bool look_again_ = false;
  bool last_ = false;
  bool finished_ = false;
  Time last_look_{};
  Timers::Id next_look_{};  // a number of 0: none is due
  Watch watch_;
};

}  // namespace quern::api
