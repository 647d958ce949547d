#include "api/long_wait.h"

#include "api/errors.h"
#include "api/task_calls.h"
#include "api/task_json.h"
#include "api/watched_task.h"

namespace quern::api {
namespace {

class HeldAnswer final : public WatchedTask {
 public:
  HeldAnswer(CallPtr call, TaskQuery query, TaskState seen)
      : WatchedTask(call->context, std::move(query), WatchFor::state),
        seen_(seen),
        call_(std::move(call)) {}

  static void hold(CallPtr call, const TaskView& seen) {
    const auto wait = call->wait;
    TaskQuery query = *make_query(*call);
    http::Exchange& exchange = *call->exchange;
    auto self = std::make_shared<HeldAnswer>(std::move(call), std::move(query), seen.state);
    const std::weak_ptr<HeldAnswer> weak = self;
    exchange.on_disconnect([weak] {
      if (const auto held = weak.lock()) held->let_go();
    });
    self->set_deadline(wait);
    if (!self->begin() || self->context_.draining.load()) self->answer_with(seen);
  }

  void end() override { look_last(); }
  [[nodiscard]] bool is_stream() const override { return false; }

 private:
  void set_deadline(std::chrono::milliseconds wait) {
    const std::scoped_lock lock(call_mutex_);
    if (!call_) return;  // the caller has left already
    deadline_ = context_.timers.call_after(wait, [weak = weak_from_this()] {
      if (const auto held = weak.lock()) static_cast<HeldAnswer&>(*held).end();
    });
  }

  void on_view(Result<TaskView> view) override {
    if (!view) {
      if (CallPtr call = take()) answer_look_up_error(std::move(call), view.error());
    } else if (is_last() || has_news(*view)) {
      answer_with(*view);
    }
  }

  // Of a status any other wire status is news, of a result only the end.
  [[nodiscard]] bool has_news(const TaskView& view) const {
    if (is_terminal(view.state)) return true;
    return !query_.result && wire_status(view.state) != wire_status(seen_);
  }

  void answer_with(const TaskView& view) {
    if (CallPtr call = take()) answer_view(std::move(call), view);
  }

  // The caller has left, or has only ended its side of the connection: whoever is there still gets what is known. This
  // may come from within the exchange's own on_disconnect(), so it is not answered here.
  void let_go() {
    context_.timers.call_after(std::chrono::milliseconds{0}, [weak = weak_from_this()] {
      if (const auto held = weak.lock()) static_cast<HeldAnswer&>(*held).end();
    });
  }

  // The call, for whoever asks first.
  CallPtr take() {
    CallPtr call;
    Timers::Id deadline;
    {
      const std::scoped_lock lock(call_mutex_);
      call.swap(call_);
      deadline = deadline_;
    }
    if (call) {
      context_.timers.cancel(deadline);
      finish();
    }
    return call;
  }

  const TaskState seen_;
  std::mutex call_mutex_;  // guards deadline_ and call_
  Timers::Id deadline_{};
  CallPtr call_;
};

}  // namespace

void hold_answer(CallPtr call, TaskView seen) { HeldAnswer::hold(std::move(call), seen); }

}  // namespace quern::api
