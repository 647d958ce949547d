#include "quern/client.h"

#include <algorithm>
#include <condition_variable>
#include <fstream>
#include <limits>
#include <mutex>
#include <optional>
#include <system_error>
#include <type_traits>

#include "base/json.h"
#include "base/percent_encode.h"
#include "base/random.h"
#include "base/safe_file_name.h"
#include "client/answer_depth.h"
#include "client/part_file.h"
#include "client/server_url.h"
#include "client/transport.h"

namespace quern {

using client::Answer;
using client::Call;
using client::PartFile;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr seconds kWatchedHold{1};     // so that someone who watches sees progress move
constexpr seconds kHold{25};           // below what proxies commonly allow a silent answer
constexpr milliseconds kPollMin{250};  // between polls of a server that does not hold answers
constexpr milliseconds kPollMax{3'000};
constexpr const char* kUnnamedFile = "output";
constexpr std::size_t kPagesMax = 1'000;  // of models: a server whose list never ends is left

ClientError usage(std::string message) {
  return {.fault = ClientFault::usage, .message = std::move(message)};
}

// What a header may hold of a caller's: with a line break it would become a header of its own.
bool is_visible_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
}

const json::value* find(const json::value& object, std::string_view name) {
  return object.is_object() ? object.get_object().if_contains(name) : nullptr;
}

std::string string_at(const json::value& object, std::string_view name) {
  const json::value* value = find(object, name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::optional<double> number_at(const json::value& object, std::string_view name) {
  const json::value* value = find(object, name);
  if (value == nullptr || !value->is_number()) return std::nullopt;
  return value->to_number<double>();
}

// A number that no Count holds becomes the nearest that it does.
template <typename Count = std::uint64_t>
Count count_at(const json::value& object, std::string_view name) {
  constexpr Count kMax = std::numeric_limits<Count>::max();
  const double value = number_at(object, name).value_or(0);
  if (!(value > 0)) return 0;
  return value < static_cast<double>(kMax) ? static_cast<Count>(value) : kMax;
}

// The server's words for a person: `detail`, which is a string or a list of faults, or
// `error.message`.
std::string explain(const json::value& body) {
  const json::value* detail = find(body, "detail");
  if (detail != nullptr && detail->is_string()) return std::string(detail->get_string());
  if (detail != nullptr && detail->is_array()) {
    std::string text;
    for (const json::value& fault : detail->get_array()) {
      std::string place;
      const json::value* loc = find(fault, "loc");
      if (loc != nullptr && loc->is_array()) {
        for (const json::value& step : loc->get_array()) {
          if (step.is_string() && step.get_string() == "body") continue;
          if (!place.empty()) place += '.';
          place += step.is_string() ? std::string(step.get_string()) : to_json(step);
        }
      }
      if (!text.empty()) text += "; ";
      text += place.empty() ? string_at(fault, "msg") : place + ": " + string_at(fault, "msg");
    }
    return text;
  }
  const json::value* error = find(body, "error");
  if (error != nullptr && error->is_string()) return std::string(error->get_string());
  return error != nullptr ? string_at(*error, "message") : std::string();
}

json::value parse_or_null(const std::string& text) {
  Result<json::value> parsed = parse_json(text, kAnswerDepthMax);
  return parsed ? std::move(*parsed) : json::value(nullptr);
}

// A result answered with an error code because the task itself failed: no fault of the exchange.
bool tells_of_completed_task(const json::value& body) {
  return string_at(body, "status") == "COMPLETED";
}

bool is_success(int status) { return status >= 200 && status < 300; }

bool may_help_to_repeat(int status) {
  return status == 0 || status == 429 || (status >= 500 && status <= 599);
}

ClientError to_error(const Answer& answer) {
  ClientError error;
  error.http_status = answer.status;
  error.detail = answer.body;
  error.retry_after = answer.retry_after;
  if (answer.stopped) {
    error.fault = ClientFault::stopped;
    error.message = "stopped";
    return error;
  }
  if (answer.status == 0) {
    error.fault = ClientFault::unreachable;
    error.message = answer.failure;
    return error;
  }
  const json::value body = parse_or_null(answer.body);
  error.message = explain(body);
  if (error.message.empty()) error.message = "HTTP " + std::to_string(answer.status);
  error.error_type = string_at(body, "error_type");
  if (tells_of_completed_task(body)) {
    error.fault = ClientFault::failed;
  } else if (answer.status == 404) {
    error.fault = ClientFault::not_found;
  } else {
    error.fault = answer.status >= 500 ? ClientFault::unreachable : ClientFault::refused;
  }
  return error;
}

// A 2xx answer that does not say what it must: another server, or a proxy's page.
std::unexpected<ClientError> not_a_quern(std::string_view lack, Answer answer) {
  return std::unexpected(ClientError{
      .fault = ClientFault::refused,
      .message = "the server's answer " + std::string(lack) + ": is this the address of a Quern?",
      .http_status = answer.status,
      .detail = std::move(answer.body)});
}

std::optional<TaskStatus> to_status(std::string_view word) {
  if (word == "IN_QUEUE") return TaskStatus::in_queue;
  if (word == "IN_PROGRESS") return TaskStatus::in_progress;
  if (word == "COMPLETED") return TaskStatus::completed;
  return std::nullopt;
}

ClientResult<StatusReport> read_status(Answer answer) {
  StatusReport report;
  const json::value parsed = parse_or_null(answer.body);
  const auto status = to_status(string_at(parsed, "status"));
  // Taken for a task that waits, it would be asked about for ever.
  if (!status) return not_a_quern("tells no status", std::move(answer));
  report.status = *status;
  if (number_at(parsed, "queue_position"))
    report.queue_position = count_at(parsed, "queue_position");
  report.eta = number_at(parsed, "eta");
  report.progress = number_at(parsed, "progress");
  if (const json::value* metrics = find(parsed, "metrics")) {
    report.inference_time = number_at(*metrics, "inference_time");
  }
  report.error = string_at(parsed, "error");
  report.error_type = string_at(parsed, "error_type");
  const json::value* logs = find(parsed, "logs");
  if (logs != nullptr && logs->is_array()) {
    for (const json::value& entry : logs->get_array()) {
      report.logs.push_back({string_at(entry, "message"), string_at(entry, "timestamp"),
                             string_at(entry, "level"), string_at(entry, "source")});
    }
  }
  report.body = std::move(answer.body);
  return report;
}

ResultOutput read_output(const json::value& entry) {
  ResultOutput output;
  output.type = string_at(entry, "type");
  output.url = string_at(entry, "url");
  output.content_type = string_at(entry, "content_type");
  const std::string file_name = string_at(entry, "file_name");
  if (!file_name.empty()) output.file_name = safe_file_name(file_name);
  output.file_size = count_at(entry, "file_size");
  output.width = count_at<std::uint32_t>(entry, "width");
  output.height = count_at<std::uint32_t>(entry, "height");
  output.duration = number_at(entry, "duration").value_or(0);
  const json::value* text = find(entry, "text");
  if (text != nullptr && text->is_string()) output.text = std::string(text->get_string());
  return output;
}

ClientResult<TaskResult> read_result(Answer answer) {
  TaskResult result;
  const json::value parsed = parse_or_null(answer.body);
  result.request_id = string_at(parsed, "request_id");
  const json::value* outputs = find(parsed, "outputs");
  if (outputs == nullptr || !outputs->is_array())
    return not_a_quern("has no outputs", std::move(answer));
  for (const json::value& entry : outputs->get_array())
    result.outputs.push_back(read_output(entry));
  const json::value* metadata = find(parsed, "metadata");
  result.metadata = metadata != nullptr ? to_json(*metadata) : "{}";
  result.body = std::move(answer.body);
  return result;
}

// One page of the models, those after the one of this id.
std::string models_path(const std::string& after) {
  return "/v1/models" + (after.empty() ? "" : "?after=" + percent_encode_segment(after));
}

// False: `page` is none.
bool add_models(std::vector<ModelInfo>& models, const json::value& page) {
  const json::value* list = find(page, "data");
  if (list == nullptr || !list->is_array()) return false;
  for (const json::value& entry : list->get_array()) {
    models.push_back({string_at(entry, "id"), string_at(entry, "title"),
                      string_at(entry, "description"), string_at(entry, "modality"),
                      to_json(entry)});
  }
  return true;
}

// Sleeps unless the token is triggered first. False: it was.
bool pause(milliseconds time, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait_for(lock, stop, time, [] { return false; });
  return !stop.stop_requested();
}

}  // namespace

struct Client::Impl {
  ClientOptions options;
  client::Transport transport;
  SystemRandom random;

  explicit Impl(ClientOptions o)
      : options(std::move(o)),
        transport({options.connect_timeout, options.request_timeout, options.user_agent}) {
    while (options.url.ends_with('/')) options.url.pop_back();
  }

  Call make_call(std::string method, std::string_view path) const {
    Call call{.method = std::move(method),
              .url = options.url + std::string(path),
              .headers = {},
              .body = {},
              .upload_file = {},
              .sink = {},
              .progress = {}};
    call.headers.push_back("Authorization: Key " + options.key);
    return call;
  }

  static std::string task_path(const TaskHandle& task) {
    return "/v1/queue/" + percent_encode_segment(task.model) + "/requests/" +
           percent_encode_segment(task.request_id);
  }

  // How long before repeat number `n` (from 0): growing, with full jitter, and no sooner than the
  // server asked for.
  milliseconds backoff(std::uint32_t n, milliseconds retry_after) {
    const milliseconds ceiling =
        std::min(options.backoff_max, options.backoff_min * (std::int64_t{1} << std::min(n, 20U)));
    const auto spread = static_cast<std::uint64_t>(std::max<std::int64_t>(ceiling.count(), 1));
    return std::max(retry_after,
                    milliseconds{static_cast<std::int64_t>(random.next_u64() % spread)});
  }

  // The output's file under a temporary name in `folder`.
  ClientResult<PartFile> fetch(const ResultOutput& output, const std::filesystem::path& folder,
                               const std::function<void(std::uint64_t, std::uint64_t)>& progress,
                               const std::stop_token& stop) {
    if (output.url.empty()) return std::unexpected(usage("this output has no file"));
    Result<PartFile> part = PartFile::make(folder, random);
    if (!part) return std::unexpected(usage(part.error().message));
    Call call;
    call.url = output.url;
    call.progress = progress;
    call.sink = [&](const char* data, std::size_t size) { return part->write(data, size); };
    for (std::uint32_t n = 0;; ++n) {
      Answer answer = transport.exchange(call, stop);
      // What could not be written is told by the move.
      if (answer.sink_failed) return std::move(*part);
      if (is_success(answer.status)) {
        const bool is_whole = output.file_size == 0 || part->size() == output.file_size;
        if (answer.status == 200 && is_whole) return std::move(*part);
        const std::string came = "HTTP " + std::to_string(answer.status) + " with " +
                                 std::to_string(part->size()) + " bytes";
        answer = {.failure = "the file did not come whole: " + came};
      }
      const bool final =
          answer.stopped || !may_help_to_repeat(answer.status) || n >= options.repeats_max;
      if (final) return std::unexpected(to_error(answer));
      if (!pause(backoff(n, answer.retry_after), stop)) {
        answer.stopped = true;
        return std::unexpected(to_error(answer));
      }
      if (!part->restart()) return std::move(*part);
    }
  }

  // Asks again while nobody is there, as long as a caller has patience who waits for a task: that lives on.
  template <typename Ask>
  std::invoke_result_t<Ask> ask_patiently(const std::stop_token& stop, Ask ask) {
    using Clock = std::chrono::steady_clock;
    std::optional<Clock::time_point> lost;
    for (std::uint32_t n = 0;; ++n) {
      auto answer = ask();
      if (answer || answer.error().fault != ClientFault::unreachable) return answer;
      if (!lost) lost = Clock::now();
      if (Clock::now() - *lost >= options.wait_patience) return answer;
      if (!pause(backoff(n, answer.error().retry_after), stop)) {
        return std::unexpected(ClientError{.fault = ClientFault::stopped, .message = "stopped"});
      }
    }
  }

  // Repeats what may help to repeat. Only for calls that do no harm twice.
  ClientResult<Answer> exchange(const Call& call, const std::stop_token& stop) {
    return exchange(call, stop, options.repeats_max);
  }

  ClientResult<Answer> exchange(const Call& call, const std::stop_token& stop,
                                std::uint32_t repeats_max) {
    if (!is_visible_ascii(options.key))
      return std::unexpected(usage("the key must be visible ASCII characters"));
    if (!client::is_server_url(options.url)) {
      return std::unexpected(
          usage("the server's address is \"" + options.url + "\": expected http://host:port"));
    }
    const auto asked = std::chrono::steady_clock::now();
    for (std::uint32_t n = 0;; ++n) {
      Answer answer = transport.exchange(call, stop);
      if (is_success(answer.status)) return answer;
      // Who has been silent for that long would hold a person up as long again with each repeat.
      const bool is_silent =
          answer.status == 0 && std::chrono::steady_clock::now() - asked >= options.request_timeout;
      const bool final = answer.stopped || answer.sink_failed || is_silent ||
                         !may_help_to_repeat(answer.status) || n >= repeats_max ||
                         tells_of_completed_task(parse_or_null(answer.body));
      if (final) return std::unexpected(to_error(answer));
      if (!pause(backoff(n, answer.retry_after), stop)) {
        answer.stopped = true;
        return std::unexpected(to_error(answer));
      }
    }
  }
};

Client::Client(ClientOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

ClientResult<TaskHandle> Client::submit(std::string_view model, std::string_view input,
                                        const SubmitOptions& options, std::stop_token stop) {
  if (model.empty() || model.find_first_of("/?# ") != std::string_view::npos) {
    return std::unexpected(usage("a model is one word, as `quern models` lists it"));
  }
  Result<json::value> parsed = parse_json(input);
  if (!parsed) return std::unexpected(usage("the input is not JSON: " + parsed.error().message));
  if (!parsed->is_object()) return std::unexpected(usage("the input must be a JSON object"));
  if (!is_visible_ascii(options.idempotency_key))
    return std::unexpected(usage("the idempotency key must be visible ASCII characters"));

  Call call = impl_->make_call("POST", "/v1/queue/" + percent_encode_segment(model));
  call.body = std::string(input);
  call.headers.emplace_back("Content-Type: application/json");
  call.headers.push_back("Idempotency-Key: " + (options.idempotency_key.empty()
                                                    ? random_hex(impl_->random, 16)
                                                    : options.idempotency_key));
  auto answer = impl_->exchange(call, stop);
  if (!answer) return std::unexpected(answer.error());
  const json::value body = parse_or_null(answer->body);
  TaskHandle task{std::string(model), string_at(body, "request_id"),
                  count_at(body, "queue_position")};
  if (task.request_id.empty()) return not_a_quern("names no request", std::move(*answer));
  return task;
}

ClientResult<StatusReport> Client::status(const TaskHandle& task, bool logs, seconds hold,
                                          std::stop_token stop) {
  std::string path = Impl::task_path(task) + "/status?logs=" + (logs ? "1" : "0");
  if (hold.count() > 0) path += "&wait=" + std::to_string(hold.count());
  auto answer = impl_->exchange(impl_->make_call("GET", path), stop);
  if (!answer) return std::unexpected(answer.error());
  return read_status(std::move(*answer));
}

ClientResult<TaskResult> Client::result(const TaskHandle& task, std::stop_token stop) {
  auto answer = impl_->exchange(impl_->make_call("GET", Impl::task_path(task) + "/response"), stop);
  if (!answer) return std::unexpected(answer.error());
  if (answer->status == 202) {
    return std::unexpected(ClientError{.fault = ClientFault::refused,
                                       .message = "the task has not completed yet",
                                       .http_status = 202,
                                       .detail = answer->body});
  }
  return read_result(std::move(*answer));
}

ClientResult<TaskResult> Client::wait(const TaskHandle& task,
                                      const std::function<void(const StatusReport&)>& changed,
                                      std::stop_token stop) {
  const seconds hold = changed ? kWatchedHold : kHold;
  milliseconds interval = kPollMin;
  std::string before;
  for (;;) {
    const auto asked = std::chrono::steady_clock::now();
    auto report = impl_->ask_patiently(
        stop, [&] { return status(task, false, before.empty() ? seconds{0} : hold, stop); });
    if (!report) return std::unexpected(report.error());
    if (changed) changed(*report);
    if (report->status == TaskStatus::completed)
      return impl_->ask_patiently(stop, [&] { return result(task, stop); });
    const bool held = std::chrono::steady_clock::now() - asked > kPollMin;
    interval = report->body != before || held ? kPollMin : std::min(kPollMax, interval * 3 / 2);
    // A server that holds answers is asked again at once; one that does not, after a pause that
    // grows.
    const bool same_answer_at_once = !before.empty() && report->body == before && !held;
    before = report->body;
    if (same_answer_at_once && !pause(interval, stop)) {
      return std::unexpected(ClientError{.fault = ClientFault::stopped, .message = "stopped"});
    }
  }
}

ClientResult<CancelReply> Client::cancel(const TaskHandle& task) {
  Call call = impl_->make_call("PUT", Impl::task_path(task) + "/cancel");
  auto answer = impl_->exchange(call, {});
  if (answer) {
    const bool is_confirmed =
        string_at(parse_or_null(answer->body), "status") == "CANCELLATION_REQUESTED";
    if (is_confirmed) return CancelReply::requested;
    return not_a_quern("confirms no cancel", std::move(*answer));
  }
  const bool completed =
      answer.error().http_status == 400 &&
      string_at(parse_or_null(answer.error().detail), "status") == "ALREADY_COMPLETED";
  if (completed) return CancelReply::already_completed;
  return std::unexpected(answer.error());
}

ClientResult<std::uint64_t> Client::download(
    const ResultOutput& output, const std::filesystem::path& file,
    const std::function<void(std::uint64_t, std::uint64_t)>& progress, std::stop_token stop) {
  auto part = impl_->fetch(output, file.parent_path(), progress, stop);
  if (!part) return std::unexpected(part.error());
  const Result<void> moved = part->move_to(file);
  if (!moved) return std::unexpected(usage(moved.error().message));
  return part->size();
}

ClientResult<SavedFile> Client::save(
    const ResultOutput& output, const std::filesystem::path& folder,
    const std::function<void(std::uint64_t, std::uint64_t)>& progress, std::stop_token stop) {
  auto part = impl_->fetch(output, folder, progress, stop);
  if (!part) return std::unexpected(part.error());
  const std::string name =
      output.file_name.empty() ? kUnnamedFile : safe_file_name(output.file_name);
  Result<std::filesystem::path> file = part->move_to_free_name(folder, name);
  if (!file) return std::unexpected(usage(file.error().message));
  return SavedFile{std::move(*file), part->size()};
}

ClientResult<std::string> Client::upload(const std::filesystem::path& file, std::stop_token stop) {
  // A folder can be opened, but has no bytes; a fifo could not be sent again.
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(file, ignored) || !std::ifstream(file, std::ios::binary))
    return std::unexpected(usage("cannot read " + file.string()));
  Call call = impl_->make_call("POST", "/v1/files");
  call.upload_file = file.string();
  auto answer = impl_->exchange(call, stop);
  if (!answer) return std::unexpected(answer.error());
  std::string url = string_at(parse_or_null(answer->body), "url");
  if (url.empty()) return not_a_quern("names no URL", std::move(*answer));
  return url;
}

ClientResult<std::vector<ModelInfo>> Client::models() {
  std::vector<ModelInfo> models;
  std::string after;
  for (std::size_t page_number = 0; page_number < kPagesMax; ++page_number) {
    auto answer = impl_->exchange(impl_->make_call("GET", models_path(after)), {});
    if (!answer) return std::unexpected(answer.error());
    const json::value page = parse_or_null(answer->body);
    if (!add_models(models, page)) return not_a_quern("lists no models", std::move(*answer));
    after = string_at(page, "next_after");
    if (after.empty()) break;
  }
  return models;
}

ClientResult<std::string> Client::call(std::string_view method, std::string_view path,
                                       std::string_view body, std::stop_token stop) {
  Call call = impl_->make_call(std::string(method), path);
  call.body = std::string(body);
  if (!body.empty()) call.headers.emplace_back("Content-Type: application/json");
  // Others may have been carried out though no answer came.
  const bool is_safe_twice = method == "GET" || method == "HEAD" || method == "PUT";
  auto answer = impl_->exchange(call, stop, is_safe_twice ? impl_->options.repeats_max : 0);
  if (!answer) return std::unexpected(answer.error());
  return std::move(answer->body);
}

}  // namespace quern
