// /admin: tasks of every key, for holders of an administrator's key. All others see an unknown
// route.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "api/admin_filter.h"
#include "api/body.h"
#include "api/handlers.h"
#include "api/query_params.h"
#include "api/task_json.h"
#include "base/assert.h"
#include "catalog/schema.h"

namespace quern::api {
namespace {

constexpr std::uint64_t kFilterBytesMax = 64 * 1024;  // of the body of a cancel by filter

std::string base_of(const Call& call) {
  std::string base;
  call.context.base_urls.append_to(base, call.request(), call.heads);
  return base;
}

json::object task_object(const TaskView& view) {
  json::object out{{"request_id", view.id.to_string()},
                   {"key", view.key},
                   {"model", view.model},
                   {"state", state_name(view.state)},
                   {"priority", view.priority == Priority::low ? "low" : "normal"},
                   {"cancel_requested", view.cancel_requested},
                   {"attempts_started", view.attempts_started},
                   {"submitted", format_rfc3339(view.submitted)}};
  if (view.state == TaskState::queued) out["queue_position"] = view.position;
  if (view.progress) out["progress"] = *view.progress;
  if (view.ended) out["ended"] = format_rfc3339(*view.ended);
  if (view.state == TaskState::failed || view.state == TaskState::canceled) {
    out["error"] = error_text(view);
    out["error_type"] = wire_error_type(Dialect::queue, view.error_type);
  }
  return out;
}

json::object attempt_object(const Attempt& attempt) {
  json::object out{{"number", attempt.number}, {"started", format_rfc3339(attempt.started)}};
  if (attempt.ended) out["ended"] = format_rfc3339(*attempt.ended);
  if (!attempt.result.empty()) out["result"] = attempt.result;
  if (!attempt.reason.empty()) out["reason"] = attempt.reason;
  return out;
}

// The task with its attempts, logs and outputs.
std::string whole_task_json(const TaskView& view, std::string_view base) {
  json::object facts = task_object(view);
  json::array attempts;
  for (const Attempt& attempt : view.attempts) attempts.emplace_back(attempt_object(attempt));
  facts["attempts"] = std::move(attempts);

  std::string out = to_json(facts);
  out.pop_back();  // the brace: what follows is rendered as everywhere else
  out += R"(,"logs":)";
  append_logs(out, view.logs);
  out += R"(,"outputs":[)";
  for (std::size_t i = 0; i < view.outputs.size(); ++i) {
    if (i > 0) out += ',';
    append_output(out, base, view.outputs[i]);
  }
  out += R"(],"metadata":)";
  out += view.metadata_json.empty() ? "{}" : view.metadata_json;
  return out + '}';
}

void answer_bad_filter(CallPtr call, std::string_view place, const Error& error) {
  const std::string_view message = error.message;
  const std::string_view name = message.substr(0, message.find(':'));
  answer_invalid_parameter(std::move(call), place, name, message, "value_error");
}

// The task id in the path, of whatever key; nullopt: the call was answered.
std::optional<TaskRef> read_ref(CallPtr& call) {
  const auto id = TaskId::parse(call->param(0));
  if (id) return TaskRef{*id, "", ""};
  answer_fault(std::move(call), kTaskNotFound);
  return std::nullopt;
}

// "The task has not ended yet": the queue's own words, which begin small.
std::string as_detail(std::string message) {
  if (!message.empty() && message.front() >= 'a' && message.front() <= 'z')
    message.front() = static_cast<char>(message.front() - 'a' + 'A');
  return message;
}

void answer_change_error(CallPtr call, const Error& error, const TaskId& id) {
  if (error.code == ErrorCode::conflict)
    return answer_json(std::move(call), 409, detail_body(as_detail(error.message)), id.to_string());
  if (error.code == ErrorCode::rate_limited)
    return answer_queue_full(std::move(call), error.retry_after, id.to_string());
  answer_look_up_error(std::move(call), error);
}

// Of what was done, once it is.
void log_act(const Call& call, std::string_view act, std::string_view on,
             std::string_view outcome) {
  log_info("administrator's act", {{"act", std::string(act)},
                                   {"on", std::string(on)},
                                   {"outcome", std::string(outcome)},
                                   {"key", call.key->id},
                                   {"trace", call.trace_id}});
}

// ---- cancel by filter

// Counts the answers to many cancels, and answers the call after the last.
struct Cancels {
  CallPtr call;
  std::string filter;                 // as it came
  std::optional<TaskId> next_before;  // there are more
  std::atomic<std::size_t> open{0};
  std::atomic<std::size_t> requested{0};
  std::atomic<std::size_t> refused{0};

  void count(const Result<CancelAnswer>& done) {
    if (done && *done == CancelAnswer::requested)
      requested.fetch_add(1);
    else
      refused.fetch_add(1);
    leave();
  }
  void leave() {
    if (open.fetch_sub(1) != 1) return;
    json::object body{{"cancellation_requested", requested.load()},
                      {"not_canceled", refused.load()},
                      {"has_more", next_before.has_value()}};
    if (next_before) body["next_before"] = next_before->to_string();
    std::string outcome = to_json(body);
    log_act(*call, "cancel", filter, outcome);
    answer_json(std::move(call), 200, std::move(outcome));
  }
};

void cancel_all(CallPtr call, std::string filter, const TaskPage& page) {
  Queue& queue = call->context.deps.queue;
  auto cancels = std::make_shared<Cancels>();
  cancels->call = std::move(call);
  cancels->filter = std::move(filter);
  if (page.more) cancels->next_before = page.tasks.back().id;
  cancels->open.store(page.tasks.size() + 1);  // one for this loop
  for (const TaskView& task : page.tasks) {
    queue.cancel(TaskRef{task.id, "", ""},
                 [cancels](Result<CancelAnswer> done) { guard([&] { cancels->count(done); }); });
  }
  cancels->leave();
}

// What is misspelt or empty must not stand for every task of everybody. Numbers may come as strings, as in a query.
const Schema& cancel_schema() {
  static const auto schema = [] {
    const Result<json::value> text = parse_json(R"({
      "additionalProperties": false,
      "properties": {
        "key": {"type": "string", "minLength": 1},
        "model": {"type": "string", "minLength": 1},
        "state": {"type": "string", "minLength": 1},
        "age_min": {"type": ["number", "string"]},
        "before": {"type": "string"},
        "limit": {"type": ["integer", "string"]}}})");
    auto compiled = Schema::compile(text->get_object());
    QUERN_ASSERT(compiled);
    return *compiled;
  }();
  return *schema;
}

std::vector<InputFault> check_cancel(const json::object& body) {
  std::vector<InputFault> faults = cancel_schema().check(body);
  constexpr std::array<std::string_view, 4> kWhich{"key", "model", "state", "age_min"};
  const bool says_which =
      std::ranges::any_of(kWhich, [&](std::string_view name) { return body.contains(name); });
  if (faults.empty() && !says_which) {
    faults.push_back({{},
                      "Say which tasks: {\"model\":\"…\"}, or {\"state\":"
                      "\"queued,running\"} for all",
                      "missing"});
  }
  return faults;
}

std::optional<std::string> member_text(const json::object& body, std::string_view name) {
  const json::value* value = body.if_contains(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return std::string(value->get_string());
  // "5" for 5.0, as a count is read.
  if (const double* number = value->if_double()) return fmt::format("{}", *number);
  return to_json(*value);
}

void cancel_by_filter(CallPtr call) {
  const auto body = parse_object_body(call);
  if (!body) return;
  if (const auto faults = check_cancel(*body); !faults.empty())
    return answer_invalid(std::move(call), faults);
  auto filter = read_task_filter([&](std::string_view name) { return member_text(*body, name); });
  if (!filter) return answer_bad_filter(std::move(call), "body", filter.error());
  if (filter->states.empty()) filter->states = {TaskState::queued, TaskState::running};
  if (!body->contains("limit")) filter->count_max = kAdminPageMax;
  Queue& queue = call->context.deps.queue;
  queue.list(*filter, reply_to<TaskPage>(std::move(call), [sent = to_json(*body)](
                                                              CallPtr held, Result<TaskPage> page) {
    if (!page) return answer_look_up_error(std::move(held), page.error());
    cancel_all(std::move(held), sent, *page);
  }));
}

void set_paused(CallPtr call, bool paused) {
  const std::string model(call->param(0));
  if (call->snapshot->catalog->find(model) == nullptr) {
    const std::string_view sent = call->match.params[0].raw;
    return answer_model_not_found(std::move(call), sent);
  }
  Queue& queue = call->context.deps.queue;
  queue.pause(model, paused,
              reply_to<bool>(std::move(call), [model, paused](CallPtr held, Result<bool> done) {
                if (!done) return answer_look_up_error(std::move(held), done.error());
                log_act(*held, paused ? "pause" : "resume", model, paused ? "paused" : "resumed");
                answer_json(std::move(held), 200,
                            to_json(json::object{{"model", model}, {"paused", paused}}));
              }));
}

void answer_page(CallPtr call, const TaskPage& page) {
  json::array tasks;
  for (const TaskView& view : page.tasks) tasks.emplace_back(task_object(view));
  json::object out{{"tasks", std::move(tasks)}, {"has_more", page.more}};
  if (page.more) out["next_before"] = page.tasks.back().id.to_string();
  answer_json(std::move(call), 200, to_json(out));
}

}  // namespace

void admin_list(CallPtr call) {
  const auto filter =
      read_task_filter([&](std::string_view name) { return find_param(call->query, name); });
  if (!filter) return answer_bad_filter(std::move(call), "query", filter.error());
  Queue& queue = call->context.deps.queue;
  queue.list(*filter, reply_to<TaskPage>(std::move(call), [](CallPtr held, Result<TaskPage> page) {
    if (!page) return answer_look_up_error(std::move(held), page.error());
    answer_page(std::move(held), *page);
  }));
}

void admin_get(CallPtr call) {
  const auto ref = read_ref(call);
  if (!ref) return;
  TaskQuery query;
  query.ref = *ref;
  query.logs = query.attempts = query.result = true;
  Queue& queue = call->context.deps.queue;
  queue.find(query, reply_to<TaskView>(std::move(call), [](CallPtr held, Result<TaskView> view) {
               if (!view) return answer_look_up_error(std::move(held), view.error());
               std::string body = whole_task_json(*view, base_of(*held));
               answer_json(std::move(held), 200, std::move(body), view->id.to_string());
             }));
}

void admin_retry(CallPtr call) {
  const auto ref = read_ref(call);
  if (!ref) return;
  Queue& queue = call->context.deps.queue;
  queue.retry(*ref, reply_to<TaskState>(std::move(call), [id = ref->id](CallPtr held,
                                                                        Result<TaskState> done) {
    if (!done) return answer_change_error(std::move(held), done.error(), id);
    log_act(*held, "retry", id.to_string(), state_name(*done));
    const json::object body{{"request_id", id.to_string()}, {"state", state_name(*done)}};
    answer_json(std::move(held), 200, to_json(body), id.to_string());
  }));
}

void admin_purge(CallPtr call) {
  const auto ref = read_ref(call);
  if (!ref) return;
  Queue& queue = call->context.deps.queue;
  queue.purge(*ref,
              reply_to<bool>(std::move(call), [id = ref->id](CallPtr held, Result<bool> done) {
                if (!done) return answer_change_error(std::move(held), done.error(), id);
                log_act(*held, "purge", id.to_string(), "purged");
                const json::object body{{"request_id", id.to_string()}, {"purged", true}};
                answer_json(std::move(held), 200, to_json(body), id.to_string());
              }));
}

void admin_cancel(CallPtr call) { with_body(std::move(call), kFilterBytesMax, cancel_by_filter); }

void admin_pause(CallPtr call) { set_paused(std::move(call), true); }

void admin_resume(CallPtr call) { set_paused(std::move(call), false); }

}  // namespace quern::api
