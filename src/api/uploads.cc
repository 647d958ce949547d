// Files that callers bring: POST /v1/files, and fal's storage (initiate, then PUT; large files in
// parts). Bytes go to the disk as they come, on threads that may block.

#include <fmt/format.h>

#include <functional>

#include "api/body.h"
#include "api/handlers.h"
#include "api/multipart.h"
#include "api/query_params.h"
#include "api/task_json.h"
#include "api/upload_parts.h"
#include "artifact/artifact_store.h"
#include "base/assert.h"
#include "base/percent_encode.h"
#include "base/safe_file_name.h"

namespace quern::api {
namespace {

constexpr std::string_view kFileField = "file";
constexpr std::string_view kNameless = "file";
constexpr std::uint64_t kSmallBodyMax = 1 << 20U;  // of the JSON calls here
constexpr std::uint64_t kPartsMax = 10'000;
constexpr std::uint32_t kWhole = 0;  // no part

// One file on its way into the store. Threads: one at a time, which may block.
struct Incoming {
  ArtifactStore& artifacts;
  std::uint64_t bytes_max;
  std::string name;
  std::optional<std::string> key;               // nullopt: a fresh one
  std::optional<UploadSizes::Growing> growing;  // of what is put at a link; ends after the file
  std::unique_ptr<Upload> upload;
  std::optional<MultipartReader> multipart;

  Result<void> start() {
    if (upload != nullptr) return {};
    auto started = artifacts.start_upload(name.empty() ? kNameless : name, bytes_max, key);
    if (!started) return std::unexpected(started.error());
    upload = std::move(*started);
    return {};
  }
  Result<void> write(std::string_view bytes) {
    if (growing && !growing->grow(bytes.size()))
      return fail(ErrorCode::too_large, "the upload has no room for more");
    if (auto started = start(); !started) return started;
    return upload->write(bytes);
  }
  Result<Output> finish() {
    if (multipart && !multipart->is_complete())
      return fail(ErrorCode::invalid_argument,
                  "Malformed multipart body: the last boundary is missing");
    if (multipart && !multipart->has_file())
      return fail(ErrorCode::invalid_argument, "Field required");
    if (auto started = start(); !started) return std::unexpected(started.error());
    auto stored = upload->finish();
    if (stored && growing) growing->keep();
    return stored;
  }
};

class IncomingSink final : public http::BodySink {
 public:
  explicit IncomingSink(std::shared_ptr<Incoming> incoming) : incoming_(std::move(incoming)) {}
  Result<void> write(std::string_view bytes) override {
    return incoming_->multipart ? incoming_->multipart->feed(bytes) : incoming_->write(bytes);
  }

 private:
  std::shared_ptr<Incoming> incoming_;
};

void answer_upload_error(CallPtr call, const Error& error) {
  switch (error.code) {
    case ErrorCode::too_large:
      return answer_fault(std::move(call), kTooLarge);
    case ErrorCode::invalid_argument: {
      const bool missing = error.message == "Field required";
      InputFault fault{{}, error.message, missing ? "missing" : "value_error"};
      if (missing) fault.loc.emplace_back(kFileField);
      return answer_invalid(std::move(call), {fault});
    }
    case ErrorCode::rate_limited:
      return answer_unavailable(std::move(call));
    default:
      log_error("upload not stored", {{"trace", call->trace_id}, {"what", error.message}});
      return answer_fault(std::move(call), kNotStored);
  }
}

std::string file_url(const Call& call, std::string_view key, std::string_view name) {
  std::string url;
  call.context.base_urls.append_to(url, call.request(), call.heads);
  return url + "/files/" + std::string(key) + "/" + percent_encode(name);
}

// A large file takes long to be closed and taken away, so that is not for an I/O thread.
void drop(Context& context, std::shared_ptr<Incoming> incoming) {
  context.blocking.drop([incoming = std::move(incoming)] {});
}

using Finished = std::function<void(CallPtr, const Output&)>;

// Takes the whole body into the store, then goes on with the stored file.
void receive(CallPtr call, std::shared_ptr<Incoming> incoming, Finished finished) {
  const std::uint64_t overhead = incoming->multipart ? kMultipartOverheadMax : 0;
  const std::uint64_t bytes_max = incoming->bytes_max + overhead;
  http::Exchange exchange = std::move(*call->exchange);
  call->exchange.reset();
  std::move(exchange).read_body_to(
      std::make_unique<IncomingSink>(incoming), bytes_max,
      [call = std::move(call), incoming, finished = std::move(finished)](
          http::Exchange back, Result<void> read) mutable {
        call->exchange.emplace(std::move(back));
        guard([&] {
          if (!read) {
            drop(call->context, std::move(incoming));
            return answer_upload_error(std::move(call), read.error());
          }
          run_blocking(std::move(call), [incoming = std::move(incoming),
                                         finished = std::move(finished)](CallPtr held) {
            const Result<Output> stored = incoming->finish();
            if (!stored) return answer_upload_error(std::move(held), stored.error());
            finished(std::move(held), *stored);
          });
        });
      });
}

std::shared_ptr<Incoming> make_incoming(const Call& call) {
  return std::make_shared<Incoming>(Incoming{
      call.context.deps.artifacts, call.context.options.upload_bytes_max, {}, {}, {}, {}, {}});
}

void expect_multipart(const std::shared_ptr<Incoming>& incoming, std::string_view boundary) {
  Incoming* const raw = incoming.get();  // owns the reader that holds these
  incoming->multipart.emplace(
      boundary, std::string(kFileField),
      MultipartReader::Target{[raw](std::string name) {
                                if (!name.empty()) raw->name = name;
                                return raw->start();
                              },
                              [raw](std::string_view bytes) { return raw->write(bytes); }});
}

void answer_stored(CallPtr call, const Output& file) {
  json::object body{{"url", file_url(*call, file.file_key, file.file_name)},
                    {"content_type", file.content_type},
                    {"file_name", file.file_name},
                    {"file_size", file.file_bytes}};
  answer_json(std::move(call), 200, to_json(body));
}

// ---- fal's storage

std::string text_member(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

void answer_initiated(CallPtr call) {
  const auto body = parse_object_body(call);
  if (!body) return;
  const std::string given = text_member(*body, "file_name");
  const std::string name = safe_file_name(given.empty() ? kNameless : std::string_view(given));
  const Context& context = call->context;
  const WallTime now = context.deps.clock.now().wall;
  const std::string token =
      context.upload_links.make_token(context.deps.random, now + context.options.upload_link_ttl);
  const auto nonce = context.upload_links.open(token, now);
  QUERN_ASSERT(nonce.has_value());

  std::string upload_url;
  context.base_urls.append_to(upload_url, call->request(), call->heads);
  upload_url += "/fal/storage/upload/" + token + "/" + percent_encode(name);
  json::object out{{"upload_url", upload_url},
                   {"file_url", file_url(*call, context.upload_links.file_key(*nonce), name)}};
  answer_json(std::move(call), 200, to_json(out));
}

// The random name behind the token in the path, if the token is good.
std::optional<std::string> open_link(const Call& call) {
  const auto nonce =
      call.context.upload_links.open(call.param(0), call.context.deps.clock.now().wall);
  if (!nonce || safe_file_name(call.param(1)) != call.param(1)) return std::nullopt;
  return std::string(*nonce);
}

// What is put at a link: a part, or the whole.
std::shared_ptr<Incoming> make_incoming_at(const Call& call, const std::string& nonce,
                                           std::uint32_t part) {
  Context& context = call.context;
  auto incoming = make_incoming(call);
  incoming->key = context.upload_links.file_key(nonce, part);
  incoming->growing.emplace(
      context.upload_sizes.begin(nonce, part, context.deps.clock.now().steady));
  incoming->bytes_max = incoming->growing->room();
  return incoming;
}

std::optional<std::uint32_t> part_number(std::uint64_t number) {
  if (number < 1 || number > kPartsMax) return std::nullopt;
  return static_cast<std::uint32_t>(number);
}

std::string part_etag(std::uint32_t number, std::uint64_t bytes) {
  return fmt::format("\"{}-{}\"", number, bytes);
}

// "parts":[{"partNumber":1,"etag":…},…], in the order of the file; nullopt if it is anything else.
std::optional<std::vector<std::uint32_t>> read_parts(const json::object& body) {
  const json::value* list = body.if_contains("parts");
  if (list == nullptr || !list->is_array() || list->get_array().empty()) return std::nullopt;
  if (list->get_array().size() > kPartsMax) return std::nullopt;
  std::vector<std::uint32_t> parts;
  for (const json::value& entry : list->get_array()) {
    const json::value* number =
        entry.is_object() ? entry.get_object().if_contains("partNumber") : nullptr;
    if (number == nullptr || !number->is_int64() || number->get_int64() < 1) return std::nullopt;
    const auto part = part_number(static_cast<std::uint64_t>(number->get_int64()));
    if (!part || (!parts.empty() && *part <= parts.back())) return std::nullopt;
    parts.push_back(*part);
  }
  return parts;
}

void assemble(CallPtr call, UploadInParts upload) {
  Context& context = call->context;
  context.assembler.assemble(std::move(upload), context.options.upload_bytes_max,
                             [call = std::move(call)](Result<Output> whole) mutable {
                               if (!whole)
                                 return answer_upload_error(std::move(call), whole.error());
                               answer_stored(std::move(call), *whole);
                             });
}

void complete(CallPtr call, std::string nonce) {
  const auto body = parse_object_body(call);
  if (!body) return;
  auto parts = read_parts(*body);
  if (!parts)
    return answer_invalid_parameter(std::move(call), "body", "parts",
                                    "Input should be a list of ascending part numbers",
                                    "value_error");
  std::string name(call->param(1));
  assemble(std::move(call), {std::move(nonce), std::move(name), std::move(*parts)});
}

}  // namespace

void post_file(CallPtr call) {
  const std::string_view type = call->heads.content_type;
  const std::optional<std::string> boundary = multipart_boundary(type);
  if (is_form_data(type) && !boundary) {
    return answer_invalid_parameter(std::move(call), "header", "content-type",
                                    "Input should have a boundary of 1 to 70 characters",
                                    "value_error");
  }
  auto incoming = make_incoming(*call);
  incoming->name = find_param(call->query, "file_name").value_or("");
  if (incoming->name.empty())
    incoming->name = disposition_file_name(call->heads.content_disposition);
  if (boundary) expect_multipart(incoming, *boundary);
  receive(std::move(call), std::move(incoming), answer_stored);
}

void initiate_upload(CallPtr call) {
  with_body(std::move(call), kSmallBodyMax,
            [](CallPtr held) { look_at_body(std::move(held), answer_initiated); });
}

// The same links serve: parts go below the upload_url.
void initiate_parts(CallPtr call) { initiate_upload(std::move(call)); }

void put_upload(CallPtr call) {
  const auto nonce = open_link(*call);
  if (!nonce) return answer_fault(std::move(call), kNotFound);
  auto incoming = make_incoming_at(*call, *nonce, kWhole);
  incoming->name = call->param(1);
  receive(std::move(call), std::move(incoming),
          [](CallPtr held, const Output&) { answer_json(std::move(held), 200, "{}"); });
}

void put_upload_part(CallPtr call) {
  const auto nonce = open_link(*call);
  const auto part = part_number(parse_count(call->param(2)).value_or(0));
  if (!nonce || !part) return answer_fault(std::move(call), kNotFound);
  auto incoming = make_incoming_at(*call, *nonce, *part);
  incoming->name = kUploadPartName;
  receive(std::move(call), std::move(incoming), [part = *part](CallPtr held, const Output& file) {
    const std::string etag = part_etag(part, file.file_bytes);
    const json::object body{{"partNumber", part}, {"etag", etag}};
    http::Response response = make_json(*held, 200, to_json(body));
    response.add_header("ETag", etag);
    answer(std::move(held), std::move(response));
  });
}

void complete_upload(CallPtr call) {
  const auto nonce = open_link(*call);
  if (!nonce) return answer_fault(std::move(call), kNotFound);
  with_body(std::move(call), kSmallBodyMax, [nonce = *nonce](CallPtr held) mutable {
    run_blocking(std::move(held), [nonce = std::move(nonce)](CallPtr back) mutable {
      complete(std::move(back), std::move(nonce));
    });
  });
}

}  // namespace quern::api
