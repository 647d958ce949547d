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

// A create whose body was looked at: what will be submitted, unless there are faults. The body as JSON is gone by then,
// since it may take 16 times its bytes, and many creates may wait for the queue's thread.
struct Draft {
  Submission submission;
  std::vector<InputFault> faults;
};
// On the heap: it goes from step to step.
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
  Queue& queue = call->context.deps.queue;
  queue.submit(std::move(draft->submission),
               reply_to<Submitted>(std::move(call), [](CallPtr held, Result<Submitted> made) {
                 if (!made) return answer_submit_error(std::move(held), made.error());
                 answer_created(std::move(held), *made);
               }));
}

// 11: parameters against the model's schema.
void check_parameters(CallPtr call, DraftPtr draft) {
  if (!draft->faults.empty()) return answer_invalid(std::move(call), draft->faults);
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

IdempotencyKey make_idempotency_key(const Call& call, const Submission& submission) {
  std::string whole = submission.model;
  whole += '\0';
  const Digest body = sha256(submission.input);
  whole.append(reinterpret_cast<const char*>(body.data()), body.size());
  return {call.key->id, std::string(call.heads.idempotency_key), sha256(whole)};
}

// What headers and query ask for beside the input. False: the call is answered.
bool read_options(CallPtr& call, Submission& submission) {
  if (call->dialect() == Dialect::fal) {
    if (const auto bad = read_fal_options(*call, submission)) {
      answer_invalid_parameter(std::move(call), bad->place, bad->name, bad->msg, bad->type);
      return false;
    }
  }
  if (!call->heads.has_idempotency_key) return true;
  if (!is_idempotency_key(call->heads.idempotency_key)) {
    answer_invalid_parameter(std::move(call), "header", "idempotency-key",
                             "String should have 1 to 255 visible ASCII characters",
                             "string_pattern_mismatch");
    return false;
  }
  submission.idempotency = make_idempotency_key(*call, submission);
  return true;
}

Submission make_submission(const Call& call, const Model& model) {
  const std::string_view text = call.request().body;
  const bool blank = text.find_first_not_of(" \t\r\n") == std::string_view::npos;
  Submission submission;
  submission.key = call.key->id;
  submission.model = model.id;
  submission.input = blank ? "{}" : text;  // as sent
  return submission;
}

// 8: the body is a JSON object; nothing but white space stands for an empty one. 9: webhook information, in the body,
// the query or the headers. Null: the call is answered.
DraftPtr look_over(CallPtr& call, const Model& model) {
  std::array<unsigned char, 512> bytes;  // enough for most bodies
  json::monotonic_resource memory(bytes.data(), bytes.size());
  auto body = parse_object_body(call, &memory);
  if (!body) return nullptr;
  const WebhookMember member = take_webhook_members(*body, model.schema.get());
  if (member == WebhookMember::asks || call->heads.has_webhook || has_webhook_param(call->query)) {
    answer_fault(std::move(call), kWebhook);
    return nullptr;
  }
  auto draft = std::make_unique<Draft>();
  draft->submission = make_submission(*call, model);
  if (!read_options(call, draft->submission)) return nullptr;
  if (member == WebhookMember::dropped) draft->submission.input = to_json(*body);
  if (model.schema != nullptr) draft->faults = model.schema->check(*body);
  if (!draft->faults.empty()) draft->submission.input = {};
  return draft;
}

void check_body(CallPtr call, const Model& model) {
  if (DraftPtr draft = look_over(call, model)) check_replay(std::move(call), std::move(draft));
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
