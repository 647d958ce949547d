// Creates, for both dialects. The order of checks is that of docs/API.md, "Errors": a request refused at any
// step creates nothing, and which refusal comes first is part of the contract.

#include <algorithm>
#include <array>
#include <boost/json/monotonic_resource.hpp>
#include <memory>

#include "api/body.h"
#include "api/errors.h"
#include "api/fal_options.h"
#include "api/handlers.h"
#include "api/task_json.h"
#include "api/webhook_guard.h"
#include "auth/api_key.h"
#include "base/json.h"

namespace quern::api {
namespace {

constexpr std::size_t kIdempotencyKeyBytesMax = 255;

// A create whose body is read: what will be submitted, and what it is checked against.
struct Draft {
  explicit Draft(const Model& of) : model(&of) {}

  const Model* model;                         // of the call's snapshot
  std::array<unsigned char, 512> body_bytes;  // enough for most bodies
  json::monotonic_resource body_memory{body_bytes.data(), body_bytes.size()};
  json::object body{&body_memory};
  bool is_input_body = false;  // the input is `body`, no longer the bytes that were sent
  Submission submission;
};
// On the heap: it goes from step to step, once by way of the queue's thread, and the body's memory stays where it is.
using DraftPtr = std::unique_ptr<Draft>;

const Model* find_model(const Call& call) {
  const Catalog& catalog = *call.snapshot->catalog;
  if (call.dialect() == Dialect::queue) return catalog.find(call.param(0));
  const auto endpoint = endpoint_id(call);
  return endpoint ? catalog.find_alias(*endpoint) : nullptr;
}

void answer_created(CallPtr call, const Submitted& submitted) {
  const TaskIdText id = submitted.id.text();
  log_debug(submitted.replayed ? "create replayed" : "task created",
            {{"trace", call->trace_id}, {"key", call->key->id}, {"task", id}});
  std::string body = created_json(place_of(*call), submitted);
  answer_json(std::move(call), 200, std::move(body), id);
}

void answer_no_such_model(CallPtr call) {
  const std::string_view sent =
      call->dialect() == Dialect::queue ? call->match.params[0].raw : endpoint_as_sent(*call);
  answer_model_not_found(std::move(call), sent);
}

void answer_submit_error(CallPtr call, const Error& error) {
  switch (error.code) {
    case ErrorCode::invalid_argument:  // the model went with a reload just now
      return answer_no_such_model(std::move(call));
    case ErrorCode::rate_limited:
      return answer_queue_full(std::move(call), error.retry_after);
    case ErrorCode::conflict:
      return answer_fault(std::move(call), kKeyReused);
    case ErrorCode::too_large:  // it has grown by how its numbers are written
      return answer_fault(std::move(call), kTooLarge);
    default:
      log_error("create not stored", {{"trace", call->trace_id}, {"what", error.message}});
      return answer_fault(std::move(call), kNotStored);
  }
}

// 12 and 13: admission, and the durable enqueue.
void submit(CallPtr call, DraftPtr draft) {
  if (draft->is_input_body) draft->submission.input = to_json(draft->body);
  Queue& queue = call->context.deps.queue;
  queue.submit(std::move(draft->submission),
               reply_to<Submitted>(std::move(call), [](CallPtr held, Result<Submitted> made) {
                 if (!made) return answer_submit_error(std::move(held), made.error());
                 answer_created(std::move(held), *made);
               }));
}

// 11: parameters against the model's schema.
void check_parameters(CallPtr call, DraftPtr draft) {
  if (draft->model->schema != nullptr) {
    const auto faults = draft->model->schema->check(draft->body);
    if (!faults.empty()) return answer_invalid(std::move(call), faults);
  }
  submit(std::move(call), std::move(draft));
}

// 10: a repetition gets the first answer, before anything about its parameters.
void check_replay(CallPtr call, DraftPtr draft) {
  if (!draft->submission.idempotency) return check_parameters(std::move(call), std::move(draft));
  Queue& queue = call->context.deps.queue;
  const IdempotencyKey key = *draft->submission.idempotency;
  queue.find_replay(
      key, reply_to<std::optional<Submitted>>(
               std::move(call), [draft = std::move(draft)](CallPtr held, auto found) mutable {
                 if (!found) return answer_submit_error(std::move(held), found.error());
                 if (*found) return answer_created(std::move(held), **found);
                 look_at_body(std::move(held), [draft = std::move(draft)](CallPtr back) mutable {
                   check_parameters(std::move(back), std::move(draft));
                 });
               }));
}

bool is_idempotency_key(std::string_view text) {
  return !text.empty() && text.size() <= kIdempotencyKeyBytesMax &&
         std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

IdempotencyKey make_idempotency_key(const Call& call, const Draft& draft) {
  std::string whole = draft.model->id;
  whole += '\0';
  const Digest body = sha256(draft.submission.input);
  whole.append(reinterpret_cast<const char*>(body.data()), body.size());
  return {call.key->id, std::string(call.heads.idempotency_key), sha256(whole)};
}

// What headers and query ask for beside the input.
void read_options(CallPtr call, DraftPtr draft) {
  if (call->dialect() == Dialect::fal) {
    if (const auto bad = read_fal_options(*call, draft->submission))
      return answer_invalid_parameter(std::move(call), bad->place, bad->name, bad->msg, bad->type);
  }
  if (call->heads.has_idempotency_key) {
    if (!is_idempotency_key(call->heads.idempotency_key))
      return answer_invalid_parameter(std::move(call), "header", "idempotency-key",
                                      "String should have 1 to 255 visible ASCII characters",
                                      "string_pattern_mismatch");
    draft->submission.idempotency = make_idempotency_key(*call, *draft);
  }
  check_replay(std::move(call), std::move(draft));
}

// 9: webhook information, in the body, the query or the headers.
void check_webhooks(CallPtr call, DraftPtr draft) {
  const WebhookMember member = take_webhook_members(draft->body, draft->model->schema.get());
  if (member == WebhookMember::asks || call->heads.has_webhook || has_webhook_param(call->query))
    return answer_fault(std::move(call), kWebhook);
  draft->is_input_body = member == WebhookMember::dropped;
  read_options(std::move(call), std::move(draft));
}

// Null if the call is answered already.
DraftPtr make_draft(CallPtr& call, const Model& model) {
  auto draft = std::make_unique<Draft>(model);
  auto body = parse_object_body(call, &draft->body_memory);
  if (!body) return nullptr;
  draft->body = std::move(*body);
  const std::string_view text = call->request().body;
  const bool blank = text.find_first_not_of(" \t\r\n") == std::string_view::npos;
  draft->submission.key = call->key->id;
  draft->submission.model = model.id;
  draft->submission.input = blank ? "{}" : text;  // as sent
  return draft;
}

// 8: the body is a JSON object; nothing but white space stands for an empty one.
void check_body(CallPtr call, const Model& model) {
  DraftPtr draft = make_draft(call, model);
  if (draft != nullptr) check_webhooks(std::move(call), std::move(draft));
}

}  // namespace

void create_task(CallPtr call) {
  if (call->context.draining.load(std::memory_order_relaxed))  // 4
    return answer_unavailable(std::move(call));
  const Model* model = find_model(*call);  // 5
  if (model == nullptr) return answer_no_such_model(std::move(call));
  if (!call->key->may_use(model->id))  // 6
    return answer_fault(std::move(call), kModelNotAllowed);
  const std::uint64_t bytes_max = call->context.options.body_bytes_max;
  with_body(std::move(call), bytes_max, [model](CallPtr held) {  // 7
    look_at_body(std::move(held), [model](CallPtr back) { check_body(std::move(back), *model); });
  });
}

}  // namespace quern::api
