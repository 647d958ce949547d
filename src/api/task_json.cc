#include "api/task_json.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

#include "base/json.h"
#include "base/percent_encode.h"
#include "base/text.h"

namespace quern::api {
namespace {

struct ErrorTypeRow {
  std::string_view queue;  // its name in the queue dialect
  std::string_view fal;    // and in fal's
  unsigned status;         // of the result
  std::string_view text;   // when the runner gave none
};

constexpr std::string_view kFailed = "Task execution failed";

constexpr ErrorTypeRow row_of(ErrorType type) {
  switch (type) {
    case ErrorType::none:
    case ErrorType::inference_failure:
      return {"INFERENCE_FAILURE", "runner_server_error", 500, kFailed};
    case ErrorType::request_invalid:
      return {"REQUEST_INVALID", "bad_request", 422, kFailed};
    case ErrorType::content_blocked:
      return {"CONTENT_BLOCKED", "content_policy_violation", 422, kFailed};
    case ErrorType::inference_timeout:
      return {"INFERENCE_TIMEOUT", "request_timeout", 504, "Task execution timed out"};
    case ErrorType::canceled:
      return {"CANCELED", "client_cancelled", 499, "Task canceled"};
    case ErrorType::internal_server_error:
      return {"INTERNAL_SERVER_ERROR", "internal_error", 500, kFailed};
  }
  return {"INTERNAL_SERVER_ERROR", "internal_error", 500, kFailed};
}

std::string_view type_name(OutputType type) {
  switch (type) {
    case OutputType::image:
      return "image";
    case OutputType::video:
      return "video";
    case OutputType::audio:
      return "audio";
    case OutputType::model3d:
      return "model3d";
    case OutputType::text:
      return "text";
    case OutputType::file:
      return "file";
  }
  return "file";
}

std::string_view level_name(LogSeverity severity) {
  switch (severity) {
    case LogSeverity::stderr_:
      return "STDERR";
    case LogSeverity::stdout_:
      return "STDOUT";
    case LogSeverity::error:
      return "ERROR";
    case LogSeverity::info:
      return "INFO";
    case LogSeverity::warn:
      return "WARN";
    case LogSeverity::debug:
      return "DEBUG";
  }
  return "INFO";
}

void append_number(std::string& out, double number) {
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

// A segment as sent, as it may stand in a URL inside a JSON string.
void append_url_text(std::string& out, std::string_view raw) {
  for (const char c : raw) {
    if (c > 0x20 && c < 0x7f && c != '"' && c != '\\' && c != '<' && c != '>')
      out += c;
    else
      fmt::format_to(std::back_inserter(out), "%{:02X}", static_cast<unsigned char>(c));
  }
}

// What the URL of a task's result has after its id.
std::string_view response_suffix(Dialect dialect) {
  return dialect == Dialect::queue ? "/response" : "";
}

void append_error(std::string& out, Dialect dialect, const TaskView& view, bool with_detail) {
  out += R"(,"error":)";
  append_json_string(out, error_text(view));
  append_all(out, R"(,"error_type":")", wire_error_type(dialect, view.error_type), "\"");
  if (!with_detail) return;
  out += R"(,"detail":)";
  append_json_string(out, error_text(view));
}

// The rest of a status object: what only its state has.
void append_state_facts(std::string& out, Dialect dialect, const TaskView& view, bool with_detail) {
  switch (view.state) {
    case TaskState::queued:
      if (view.eta && std::isfinite(*view.eta)) {
        out += R"(,"eta":)";
        append_number(out, *view.eta);
      }
      return;
    case TaskState::running:
      if (view.progress && std::isfinite(*view.progress)) {
        out += R"(,"progress":)";
        append_number(out, *view.progress);
      }
      return;
    case TaskState::succeeded:
      out += R"(,"metrics":{"inference_time":)";
      append_seconds(out, view.run_time);
      out += '}';
      return;
    case TaskState::failed:
    case TaskState::canceled:
      append_error(out, dialect, view, with_detail);
      return;
  }
}

void append_log(std::string& out, const LogEntry& entry) {
  const std::string_view level = level_name(entry.severity);
  out += R"({"message":)";
  append_json_string(out, entry.message);
  append_all(out, R"(,"timestamp":")", format_rfc3339(entry.time), R"(","level":")", level,
             R"(","source":")", entry.from_quern ? "quern" : "runner", R"(","labels":{"level":")",
             level, "\"}}");
}

void append_file_url(std::string& out, std::string_view base, const Output& output) {
  append_all(out, R"("url":")", base, "/files/", output.file_key, "/",
             percent_encode(output.file_name), "\"");
}

// Everything of a file that is known, each with a comma before it.
void append_file_facts(std::string& out, const Output& output) {
  if (!output.content_type.empty()) {
    out += R"(,"content_type":)";
    append_json_string(out, output.content_type);
  }
  if (!output.file_name.empty()) {
    out += R"(,"file_name":)";
    append_json_string(out, output.file_name);
  }
  const auto add = [&](std::string_view name, std::uint64_t value) {
    if (value != 0) append_all(out, name, DecimalText(value));
  };
  // That a file is empty is known.
  if (!output.file_key.empty()) {
    append_all(out, R"(,"file_size":)", DecimalText(output.file_bytes));
  }
  add(R"(,"width":)", output.width);
  add(R"(,"height":)", output.height);
  if (output.duration > 0 && std::isfinite(output.duration)) {
    out += R"(,"duration":)";
    append_number(out, output.duration);
  }
}

void append_media(std::string& out, std::string_view base, const Output& output) {
  out += '{';
  append_file_url(out, base, output);
  append_file_facts(out, output);
  out += '}';
}

const Output* find_first(const TaskView& view, OutputType type) {
  for (const Output& output : view.outputs) {
    if (output.type == type && (type == OutputType::text || !output.file_key.empty()))
      return &output;
  }
  return nullptr;
}

void append_images(std::string& out, std::string_view base, const TaskView& view) {
  bool first = true;
  for (const Output& output : view.outputs) {
    if (output.type != OutputType::image || output.file_key.empty()) continue;
    out += first ? R"(,"images":[)" : ",";
    append_media(out, base, output);
    first = false;
  }
  if (!first) out += ']';
}

// What fal's clients read beside the envelope.
void append_fal_shape(std::string& out, std::string_view base, const TaskView& view) {
  append_images(out, base, view);
  if (const Output* video = find_first(view, OutputType::video)) {
    out += R"(,"video":)";
    append_media(out, base, *video);
  }
  if (const Output* audio = find_first(view, OutputType::audio)) {
    out += R"(,"audio":)";
    append_media(out, base, *audio);
  }
  if (const Output* text = find_first(view, OutputType::text); text && text->text) {
    out += R"(,"text":)";
    append_json_string(out, *text->text);
  }
}

}  // namespace

TaskPlace place_of(const Call& call) {
  TaskPlace place;
  place.dialect = call.dialect();
  place.endpoint.reserve(128);
  call.context.base_urls.append_to(place.endpoint, call.request(), call.heads);
  place.base_bytes = place.endpoint.size();
  place.endpoint += mount_path(call.match.mount);
  if (place.dialect == Dialect::queue) {
    place.endpoint += '/';
    append_url_text(place.endpoint, call.match.params[0].raw);
    return place;
  }
  for (const Segment& segment : call.match.endpoint) {
    place.endpoint += '/';
    append_url_text(place.endpoint, segment.raw);
  }
  return place;
}

std::string created_json(const TaskPlace& place, const Submitted& submitted) {
  const TaskIdText id = submitted.id.text();
  const std::string_view url = place.endpoint;
  std::string out;
  out.reserve(320 + 3 * url.size());
  append_all(out, R"({"request_id":")", id, R"(","response_url":")", url, "/requests/", id,
             response_suffix(place.dialect));
  append_all(out, R"(","status_url":")", url, "/requests/", id, "/status");
  append_all(out, R"(","cancel_url":")", url, "/requests/", id, "/cancel");
  append_all(out, R"(","queue_position":)", DecimalText(submitted.position));
  out += place.dialect == Dialect::fal ? R"(,"status":"IN_QUEUE"})" : "}";
  return out;
}

std::string status_json(const TaskPlace& place, const TaskView& view, bool logs, bool with_detail) {
  const TaskIdText id = view.id.text();
  std::string out;
  out.reserve(224 + place.endpoint.size());
  append_all(out, R"({"status":")", wire_status(view.state), R"(","request_id":")", id, "\",");
  if (view.state == TaskState::queued)
    append_all(out, R"("queue_position":)", DecimalText(view.position), ",");
  append_all(out, R"("response_url":")", place.endpoint, "/requests/", id,
             response_suffix(place.dialect), R"(","logs":)");
  if (logs) {
    append_logs(out, view.logs);
  } else {
    out += "null";
  }
  append_state_facts(out, place.dialect, view, with_detail);
  out += '}';
  return out;
}

std::string result_json(const TaskPlace& place, const TaskView& view) {
  std::string out;
  out.reserve(256 + 320 * view.outputs.size());
  append_all(out, R"({"request_id":")", view.id.text(), R"(","outputs":[)");
  for (std::size_t i = 0; i < view.outputs.size(); ++i) {
    if (i > 0) out += ',';
    append_output(out, place.base(), view.outputs[i]);
  }
  out += ']';
  if (place.dialect == Dialect::fal) append_fal_shape(out, place.base(), view);
  out += R"(,"metadata":)";
  out += view.metadata_json.empty() ? "{}" : view.metadata_json;
  out += '}';
  return out;
}

std::string_view wire_status(TaskState state) {
  if (state == TaskState::queued) return "IN_QUEUE";
  return state == TaskState::running ? "IN_PROGRESS" : "COMPLETED";
}

std::string_view wire_error_type(Dialect dialect, ErrorType type) {
  const ErrorTypeRow row = row_of(type);
  return dialect == Dialect::queue ? row.queue : row.fal;
}

std::string_view error_text(const TaskView& view) {
  if (!view.error.empty()) return view.error;
  if (view.start_timed_out) return "Task was not started in time";
  return row_of(view.error_type).text;
}

unsigned failure_status(ErrorType type) { return row_of(type).status; }

void append_output(std::string& out, std::string_view base, const Output& output) {
  append_all(out, R"({"type":")", type_name(output.type), "\"");
  if (!output.file_key.empty()) {
    out += ',';
    append_file_url(out, base, output);
  }
  append_file_facts(out, output);
  if (output.text) {
    out += R"(,"text":)";
    append_json_string(out, *output.text);
  }
  if (!output.metadata_json.empty() && output.metadata_json != "{}") {
    out += R"(,"metadata":)";
    out += output.metadata_json;
  }
  out += '}';
}

void append_logs(std::string& out, const std::vector<LogEntry>& logs, std::size_t from) {
  out += '[';
  for (std::size_t i = from; i < logs.size(); ++i) {
    if (i > from) out += ',';
    append_log(out, logs[i]);
  }
  out += ']';
}

void append_seconds(std::string& out, std::chrono::microseconds time) {
  const auto micros = static_cast<std::uint64_t>(std::max<std::int64_t>(time.count(), 0));
  out += DecimalText(micros / 1'000'000);
  std::array<char, 8> decimals = {'.', '0', '0', '0', '0', '0', '0'};
  std::uint64_t rest = micros % 1'000'000;
  for (std::size_t i = 6; i > 0; --i, rest /= 10) decimals[i] = static_cast<char>('0' + rest % 10);
  std::size_t used = 7;
  while (used > 2 && decimals[used - 1] == '0') --used;
  out.append(decimals.data(), used);
}

}  // namespace quern::api
