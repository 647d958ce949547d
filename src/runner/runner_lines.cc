#include "runner/runner_lines.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/utf8.h"

namespace quern {
namespace {

template <typename T>
using Names = std::pair<std::string_view, T>;

constexpr std::array<Names<OutputType>, 6> kOutputTypes{{{"image", OutputType::image},
                                                         {"video", OutputType::video},
                                                         {"audio", OutputType::audio},
                                                         {"model3d", OutputType::model3d},
                                                         {"text", OutputType::text},
                                                         {"file", OutputType::file}}};

constexpr std::array<Names<LogSeverity>, 7> kSeverities{{{"STDERR", LogSeverity::stderr_},
                                                         {"STDOUT", LogSeverity::stdout_},
                                                         {"ERROR", LogSeverity::error},
                                                         {"INFO", LogSeverity::info},
                                                         {"WARN", LogSeverity::warn},
                                                         {"WARNING", LogSeverity::warn},
                                                         {"DEBUG", LogSeverity::debug}}};

// CANCELED is not among them: only the queue knows whether a cancel was asked for.
constexpr std::array<Names<ErrorType>, 5> kErrorTypes{
    {{"REQUEST_INVALID", ErrorType::request_invalid},
     {"CONTENT_BLOCKED", ErrorType::content_blocked},
     {"INFERENCE_FAILURE", ErrorType::inference_failure},
     {"INFERENCE_TIMEOUT", ErrorType::inference_timeout},
     {"INTERNAL_SERVER_ERROR", ErrorType::internal_server_error}}};

constexpr std::array<std::string_view, 5> kMembers{"progress", "log", "error", "output",
                                                   "metadata"};

template <typename T, std::size_t N>
std::optional<T> find_name(const std::array<Names<T>, N>& names, std::string_view name) {
  const auto found = std::ranges::find(names, name, &Names<T>::first);
  if (found == names.end()) return std::nullopt;
  return found->second;
}

std::optional<std::string_view> find_string(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return std::string_view(value->get_string());
}

std::optional<double> decode_progress(const json::value& value) {
  if (!value.is_number()) return std::nullopt;
  const double fraction = value.to_number<double>();
  if (!std::isfinite(fraction)) return std::nullopt;
  return std::clamp(fraction, 0.0, 1.0);
}

std::optional<RunnerLog> decode_log(const json::object& message, const json::value& text) {
  if (!text.is_string()) return std::nullopt;
  const std::string_view level = find_string(message, "level").value_or("INFO");
  return RunnerLog{.severity = find_name(kSeverities, level).value_or(LogSeverity::info),
                   .message = std::string(text.get_string())};
}

// Whatever an error holds, the program has said that it failed: only the text may be missing.
std::string decode_error_text(const json::value& error) {
  if (error.is_string())
    return std::string(log_text(std::string_view(error.get_string()), kErrorTextBytesMax));
  if (!error.is_object()) return {};
  return std::string(
      log_text(find_string(error.get_object(), "message").value_or(""), kErrorTextBytesMax));
}

// A program that writes all its fields says null for those that it has nothing to say of.
bool tells_error(const json::object& message) {
  const json::value* error = message.if_contains("error");
  return error != nullptr && (!error->is_null() || find_string(message, "error_type"));
}

RunnerError decode_error(const json::object& message, const json::value& error) {
  const std::string_view type = find_string(message, "error_type").value_or("INFERENCE_FAILURE");
  const json::value* retryable = message.if_contains("retryable");
  return RunnerError{
      .type = find_name(kErrorTypes, type).value_or(ErrorType::inference_failure),
      .text = decode_error_text(error),
      .retryable = retryable != nullptr && retryable->is_bool() && retryable->get_bool()};
}

std::string decode_output_metadata(const json::object& output) {
  const json::value* metadata = output.if_contains("metadata");
  if (metadata == nullptr || !metadata->is_object() || metadata->get_object().empty()) return {};
  return to_json(*metadata);
}

Result<RunnerOutput> decode_output(const json::value& value) {
  const auto wrong = [](std::string_view what) {
    return fail(ErrorCode::invalid_argument, std::string(what));
  };
  if (!value.is_object()) return wrong("is not an object");
  const json::object& object = value.get_object();

  const auto type = find_name(kOutputTypes, find_string(object, "type").value_or(""));
  if (!type) return wrong("has no type out of image, video, audio, model3d, text and file");
  const auto text = find_string(object, "text");
  const auto path = find_string(object, "path");
  if (text && *type != OutputType::text) return wrong("has a text, but is not of type text");
  if (text.has_value() == path.has_value()) {
    return wrong(*type == OutputType::text ? "needs either a text or a path" : "has no path");
  }
  if (path && path->empty()) return wrong("has an empty path");
  if (path && path->find('\0') != std::string_view::npos) return wrong("has a path with a NUL");
  if (text && text->size() > kOutputTextBytesMax) return wrong("has a text of more than 1 MiB");

  RunnerOutput output{.type = *type, .metadata_json = decode_output_metadata(object)};
  if (text) output.text.emplace(*text);
  if (path) output.path = *path;
  return output;
}

// Of a string whose first character is at `at`: where its closing quote is.
std::size_t find_string_end(std::string_view line, std::size_t at) {
  at = line.find_first_of("\"\\", at);
  while (at != std::string_view::npos && line[at] == '\\') {
    at = line.find_first_of("\"\\", at + 2);
  }
  return at;
}

std::string_view skip_blanks(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of(" \t"), text.size()));
}

// Calls `each(name, rest)` for the members of the outermost object of a line that need not be JSON,
// with all that stands from the value on.
template <typename Each>
void scan_members(std::string_view line, Each&& each) {
  std::size_t depth = 0;
  for (std::size_t i = line.find('{'); i < line.size(); ++i) {
    const char c = line[i];
    if (c == '{' || c == '[') ++depth;
    if ((c == '}' || c == ']') && --depth == 0) return;
    if (c != '"') continue;
    const std::size_t end = find_string_end(line, i + 1);
    if (end == std::string_view::npos) return;
    const std::string_view rest = skip_blanks(line.substr(end + 1));
    if (depth == 1 && rest.starts_with(':')) {
      each(line.substr(i + 1, end - i - 1), skip_blanks(rest.substr(1)));
    }
    i = end;
  }
}

}  // namespace

std::optional<RunnerMessage> decode_broken_line(std::string_view line, std::string fault) {
  if (!begins_as_message(line)) return std::nullopt;
  bool is_known = false;
  bool has_error = false;
  bool tells_error = false;
  RunnerMessage message;
  scan_members(line, [&](std::string_view name, std::string_view value) {
    is_known = is_known || std::ranges::find(kMembers, name) != kMembers.end();
    has_error = has_error || name == "error";
    if (value.starts_with("null")) return;
    tells_error = tells_error || name == "error" || name == "error_type";
    if (name == "output") message.output = fail(ErrorCode::invalid_argument, fault);
  });
  if (!is_known) return std::nullopt;
  if (has_error && tells_error) message.error.emplace();
  message.fault = std::move(fault);
  return message;
}

std::optional<RunnerMessage> decode_runner_line(std::string_view line) {
  if (!begins_as_message(line)) return std::nullopt;
  Result<json::value> parsed = parse_json(line);
  if (!parsed) return decode_broken_line(line, "is no JSON: " + parsed.error().message);
  if (!parsed->is_object()) return std::nullopt;
  json::object& object = parsed->get_object();

  RunnerMessage message;
  if (const auto* value = object.if_contains("progress"))
    message.progress = decode_progress(*value);
  if (const auto* value = object.if_contains("log")) message.log = decode_log(object, *value);
  if (tells_error(object)) message.error = decode_error(object, object.at("error"));
  if (const auto* value = object.if_contains("output"); value != nullptr && !value->is_null()) {
    message.output = decode_output(*value);
  }
  if (auto* value = object.if_contains("metadata"); value != nullptr && value->is_object()) {
    message.metadata = std::move(value->get_object());
  }
  const bool known =
      message.progress || message.log || message.error || message.output || message.metadata;
  if (!known) return std::nullopt;
  return message;
}

std::string_view log_text(std::string_view text, std::size_t bytes_max) {
  if (text.ends_with('\r')) text.remove_suffix(1);
  return cut_utf8(text, bytes_max);
}

void LineSplitter::hold(std::string_view piece) {
  if (!holding_) {
    holding_ = true;
    held_.clear();
  }
  const bool is_blank = held_.find_first_not_of(" \t") == std::string::npos;
  const std::size_t room = limit(is_blank ? piece : std::string_view(held_)) - held_.size();
  if (piece.size() > room) cut_ = true;
  held_.append(piece.substr(0, room));
}

}  // namespace quern
