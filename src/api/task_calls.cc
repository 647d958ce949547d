#include "api/task_calls.h"

#include <algorithm>

#include "api/errors.h"
#include "api/handlers.h"
#include "api/long_wait.h"
#include "api/query_params.h"
#include "api/task_json.h"

namespace quern::api {
namespace {

std::string_view id_param(const Call& call) {
  return call.param(call.dialect() == Dialect::queue ? 1 : 0);
}

void answer_status(CallPtr call, const TaskView& view) {
  const bool fal_pending = call->dialect() == Dialect::fal && !is_terminal(view.state);
  std::string body = status_json(place_of(*call), view, call->wants_logs);
  answer_json(std::move(call), fal_pending ? 202 : 200, std::move(body), view.id.text());
}

void answer_failure(CallPtr call, const TaskView& view) {
  std::string body = status_json(place_of(*call), view, call->wants_logs, true);
  http::Response response =
      make_json(*call, failure_status(view.error_type), std::move(body), view.id.text());
  response.add_header("X-Fal-Error-Type", wire_error_type(call->dialect(), view.error_type));
  if (view.start_timed_out) response.add_header("X-Fal-Request-Timeout-Type", "user");
  answer(std::move(call), std::move(response));
}

void answer_result(CallPtr call, const TaskView& view) {
  if (view.state == TaskState::succeeded) {
    std::string body = result_json(place_of(*call), view);
    return answer_json(std::move(call), 200, std::move(body), view.id.text());
  }
  if (is_terminal(view.state)) return answer_failure(std::move(call), view);
  if (call->dialect() == Dialect::fal)
    return answer_json(std::move(call), kInProgress.status, detail_body(kInProgress),
                       view.id.text());
  std::string body = status_json(place_of(*call), view, call->wants_logs);
  answer_json(std::move(call), 202, std::move(body), view.id.text());
}

void on_view(CallPtr call, Result<TaskView> view) {
  if (!view) return answer_look_up_error(std::move(call), view.error());
  if (!is_endpoint_of(*call, *view)) return answer_fault(std::move(call), kTaskNotFound);
  if (call->wait.count() > 0 && !is_terminal(view->state) && !call->context.draining.load())
    return hold_answer(std::move(call), std::move(*view));
  answer_view(std::move(call), *view);
}

// False: the call was answered with what is wrong.
bool read_options(CallPtr& call) {
  if (call->query.empty()) return true;
  call->wants_logs = find_flag(call->query, "logs");
  const auto wait = find_param(call->query, "wait");
  if (!wait) return true;
  const auto time = parse_seconds(*wait);
  if (!time) {
    answer_invalid_parameter(std::move(call), "query", "wait",
                             "Input should be a number of seconds, 0 or more", "float_parsing");
    return false;
  }
  call->wait = std::min(*time, call->context.options.wait_max);
  return true;
}

void look_up(CallPtr call) {
  if (!read_options(call)) return;
  const auto query = make_query(*call);
  if (!query) return answer_fault(std::move(call), kTaskNotFound);
  Queue& queue = call->context.deps.queue;
  queue.find(*query, reply_to<TaskView>(std::move(call), on_view));
}

void answer_cancel_error(CallPtr call, const Error& error) {
  if (error.code == ErrorCode::not_found) {
    return answer_json(std::move(call), 404,
                       R"({"status":"NOT_FOUND","detail":"Request not found"})");
  }
  log_error("cancel failed", {{"trace", call->trace_id}, {"what", error.message}});
  answer_fault(std::move(call), error.code == ErrorCode::internal ? kInternalError : kNotStored);
}

void cancel_known(CallPtr call, TaskRef ref) {
  Queue& queue = call->context.deps.queue;
  const TaskId id = ref.id;
  queue.cancel(
      ref, reply_to<CancelAnswer>(std::move(call), [id](CallPtr held, Result<CancelAnswer> done) {
        if (!done) return answer_cancel_error(std::move(held), done.error());
        const bool requested = *done == CancelAnswer::requested;
        answer_json(std::move(held), requested ? 202 : 400,
                    requested ? R"({"status":"CANCELLATION_REQUESTED"})"
                              : R"({"status":"ALREADY_COMPLETED"})",
                    id.text());
      }));
}

}  // namespace

std::optional<TaskQuery> make_query(const Call& call) {
  const auto id = TaskId::parse(id_param(call));
  if (!id) return std::nullopt;
  TaskQuery query;
  query.ref.id = *id;
  query.ref.key = call.key->id;
  if (call.dialect() == Dialect::queue) query.ref.model = call.param(0);
  query.logs = call.wants_logs;
  query.result = call.wants_result;
  return query;
}

bool is_endpoint_of(const Call& call, const TaskView& view) {
  if (call.dialect() == Dialect::queue) return true;
  const std::optional<std::string> endpoint = endpoint_id(call);
  if (!endpoint) return false;
  return call.snapshot->catalog->is_endpoint_of(view.model, *endpoint) ||
         call.snapshot->endpoints->has(view.model, *endpoint);
}

void answer_view(CallPtr call, const TaskView& view) {
  if (call->wants_result) return answer_result(std::move(call), view);
  answer_status(std::move(call), view);
}

void get_status(CallPtr call) { look_up(std::move(call)); }

void get_result(CallPtr call) {
  call->wants_result = true;
  look_up(std::move(call));
}

void cancel_task(CallPtr call) {
  const auto query = make_query(*call);
  if (!query) return answer_cancel_error(std::move(call), {ErrorCode::not_found, "", {}});
  if (call->dialect() == Dialect::queue) return cancel_known(std::move(call), query->ref);
  // On the fal mount several endpoints may stand for the model: look first.
  Queue& queue = call->context.deps.queue;
  queue.find(*query, reply_to<TaskView>(std::move(call), [](CallPtr held, Result<TaskView> view) {
    if (view && !is_endpoint_of(*held, *view))
      view = fail(ErrorCode::not_found, "another endpoint");
    if (!view) return answer_cancel_error(std::move(held), view.error());
    TaskRef ref{view->id, held->key->id, view->model};
    cancel_known(std::move(held), std::move(ref));
  }));
}

void refuse_stream(CallPtr call) { answer_fault(std::move(call), kStreamUnsupported); }

}  // namespace quern::api
