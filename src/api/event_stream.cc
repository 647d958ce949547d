// GET …/status/stream of the fal dialect: the status object at once and after each change, until
// COMPLETED. One that ends before that breaks off, since fal's JavaScript client takes whatever ends
// in order for COMPLETED.
//
// With logs=1 an event holds the entries that no event before it held: that is what fal's client
// adds up.

#include "api/ascii_json.h"
#include "api/errors.h"
#include "api/handlers.h"
#include "api/query_params.h"
#include "api/sent_logs.h"
#include "api/task_calls.h"
#include "api/task_json.h"
#include "api/watched_task.h"

namespace quern::api {
namespace {

class StatusStream final : public WatchedTask {
 public:
  StatusStream(Context& context, TaskQuery query, TaskPlace place)
      : WatchedTask(context, std::move(query), WatchFor::everything), place_(std::move(place)) {}

  void open(http::StreamWriter writer, TaskView first) {
    {
      const std::scoped_lock lock(stream_mutex_);
      writer_ = std::move(writer);
    }
    on_view(std::move(first));
    schedule_comment();
    if (!begin()) return close();
    if (context_.stopping.load()) end();
  }

  void end() override { look_last(); }
  [[nodiscard]] bool is_stream() const override { return true; }

  void close() {
    {
      const std::scoped_lock lock(stream_mutex_);
      http::StreamWriter closing = std::move(writer_);
      if (!last_state_ || !is_terminal(*last_state_)) std::move(closing).break_off();
      closed_ = true;
      context_.timers.cancel(comment_);
    }
    finish();
  }

 private:
  void on_view(Result<TaskView> view) override {
    if (!view || !send(*view) || is_last()) close();
  }

  // False: the stream is over.
  bool send(TaskView& view) {
    const Time now = std::chrono::steady_clock::now();
    const std::scoped_lock lock(stream_mutex_);
    if (closed_) return false;
    const Time due = sent_at_ + context_.options.stream_interval_min;
    const bool over = is_terminal(view.state);
    // A change of status is told at once; retries bound how often it comes.
    if (now < due && view.state == last_state_) {
      look_at(due);
      return true;
    }
    std::string facts = status_json(place_, view, false);
    sent_logs_.take_unsent(view);
    if (facts == last_facts_ && view.logs.empty()) return !over;
    last_facts_ = std::move(facts);
    last_state_ = view.state;
    sent_at_ = now;
    std::string event = query_.logs ? status_json(place_, view, true) : last_facts_;
    // fal's client decodes each piece that comes from the network by itself: one may end within a character.
    return writer_.write("data: " + to_ascii_json(std::move(event)) + "\n\n") && !over;
  }

  void schedule_comment() {
    const std::scoped_lock lock(stream_mutex_);
    if (closed_) return;
    comment_ = context_.timers.call_after(context_.options.stream_comment_every,
                                          [weak = weak_from_this()] {
                                            if (const auto self = weak.lock())
                                              static_cast<StatusStream&>(*self).comment();
                                          });
  }

  // Keeps proxies from closing the stream, and notices a caller that has left.
  void comment() {
    bool is_open = false;
    {
      const std::scoped_lock lock(stream_mutex_);
      is_open = !closed_ && writer_.write(": waiting\n\n");
    }
    if (is_open)
      schedule_comment();
    else
      close();
  }

  const TaskPlace place_;
  std::mutex stream_mutex_;  // guards what follows
  http::StreamWriter writer_;
  bool closed_ = false;
  std::optional<TaskState> last_state_;
  std::string last_facts_;  // the last event, but for its logs
  SentLogs sent_logs_;
  Time sent_at_{};
  Timers::Id comment_{};
};

void open_stream(CallPtr call, Result<TaskView> view) {
  if (!view) return answer_look_up_error(std::move(call), view.error());
  if (!is_endpoint_of(*call, *view)) return answer_fault(std::move(call), kTaskNotFound);
  Context& context = call->context;
  const bool is_head_only = call->request().method == http::Method::head;
  auto stream = std::make_shared<StatusStream>(context, *make_query(*call), place_of(*call));
  call->exchange->on_disconnect([weak = std::weak_ptr<StatusStream>(stream)] {
    if (const auto open = weak.lock()) open->close();
  });
  http::Response head =
      make_response(*call, 200, "text/event-stream; charset=utf-8", view->id.to_string());
  head.head += "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n";
  http::StreamWriter writer = answer_stream(std::move(call), std::move(head));
  if (is_head_only) return;  // ends with the head
  stream->open(std::move(writer), std::move(*view));
}

}  // namespace

void stream_status(CallPtr call) {
  call->wants_logs = find_flag(call->query, "logs");
  const auto query = make_query(*call);
  if (!query) return answer_fault(std::move(call), kTaskNotFound);
  Queue& queue = call->context.deps.queue;
  queue.find(*query, reply_to<TaskView>(std::move(call), open_stream));
}

}  // namespace quern::api
