#include "base/log.h"

#include <fmt/format.h>
#include <poll.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/ansicolor_sink.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <memory>
#include <mutex>
#include <utility>

#include "base/json.h"
#include "base/utf8.h"

namespace quern {
namespace {

std::string_view name_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warn:
      return "warn";
    case LogLevel::error:
      return "error";
  }
  return "error";
}

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warn:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

constexpr std::chrono::milliseconds kReaderPatience{1'000};
constexpr std::size_t kLogLineMax =
    PIPE_BUF;  // with the line break: a pipe takes it at once or not at all

/// Waits a moment for a reader of stderr that has fallen behind, once; then it drops lines until that reads again, and
/// says how many.
class PatientSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  PatientSink(spdlog::sink_ptr to, bool is_text) : to_(std::move(to)), is_text_(is_text) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& line) override {
    if (!is_read(dropped_ == 0 ? kReaderPatience : std::chrono::milliseconds{0})) {
      ++dropped_;
      return;
    }
    if (dropped_ > 0) {
      tell_dropped();
      if (!is_read(std::chrono::milliseconds{0})) {  // that took the room
        ++dropped_;
        return;
      }
    }
    to_->log(line);
  }
  void flush_() override { to_->flush(); }
  void set_pattern_(const std::string& pattern) override { to_->set_pattern(pattern); }
  void set_formatter_(std::unique_ptr<spdlog::formatter> formatter) override {
    to_->set_formatter(std::move(formatter));
  }

 private:
  /// A pipe that says so takes a line of kLogLineMax without a wait, but not one byte more.
  static bool is_read(std::chrono::milliseconds patience) {
    pollfd item{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
    return ::poll(&item, 1, static_cast<int>(patience.count())) != 0;
  }
  void tell_dropped() {
    const std::string count = std::to_string(std::exchange(dropped_, 0));
    const std::array fields{LogField{"lines", count}};
    constexpr std::string_view kMessage = "log lines were dropped: nobody read them";
    const std::string line =
        is_text_ ? format_log_text(kMessage, fields)
                 : format_log_json(SystemClock().now().wall, LogLevel::warn, kMessage, fields);
    to_->log(spdlog::details::log_msg("quern", spdlog::level::warn, line));
  }

  const spdlog::sink_ptr to_;
  const bool is_text_;
  std::uint64_t dropped_ = 0;  // since the last line
};

struct Output {
  std::unique_ptr<spdlog::logger> logger;
  bool text = false;
};

Output make_output(LogLevel level, bool text) {
  spdlog::sink_ptr sink;
  if (text) {
    sink = std::make_shared<spdlog::sinks::ansicolor_stderr_sink_mt>();
  } else {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  }
  sink = std::make_shared<PatientSink>(std::move(sink), text);
  Output output{.logger = std::make_unique<spdlog::logger>("quern", std::move(sink)), .text = text};
  output.logger->set_pattern(text ? "%H:%M:%S.%e %^%-7l%$ %v" : "%v");
  output.logger->set_level(spdlog_level(level));
  output.logger->set_error_handler([](const std::string&) {});  // stderr is gone: nobody to tell
  return output;
}

// The one global of the program: whatever logs before init_logging gets JSON lines from `info` on.
Output& output() {
  static Output instance = make_output(LogLevel::info, false);
  return instance;
}

// Unlike a value, a message is a sentence: quotes around it would be noise, so only the escapes
// stay.
void append_escaped(std::string& out, std::string_view text) {
  const std::size_t begin = out.size();
  append_json_string(out, text);
  out.pop_back();
  out.erase(begin, 1);
}

bool is_bare_word(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return c > ' ' && c < '\x7F' && c != '"' && c != '\\' && c != '=';
  });
}

// The first `limit` bytes of a longer text, and how long it was.
std::string cut(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return std::string(text);
  return fmt::format("{}… ({} bytes)", cut_utf8(text, limit), text.size());
}

// Each text at most `text_max` bytes, as they came.
std::string json_line(WallTime time, LogLevel level, std::string_view message,
                      std::span<const LogField> fields, std::size_t text_max) {
  std::string line =
      fmt::format(R"({{"time":"{}","level":"{}","msg":)", format_rfc3339(time), name_of(level));
  append_json_string(line, cut(message, text_max));
  for (const LogField& field : fields) {
    line += ',';
    append_json_string(line, field.name);
    line += ':';
    append_json_string(line, cut(field.value, text_max));
  }
  line += '}';
  return line;
}

std::string text_line(std::string_view message, std::span<const LogField> fields,
                      std::size_t text_max) {
  std::string line;
  append_escaped(line, cut(message, text_max));
  for (const LogField& field : fields) {
    line += ' ';
    line += field.name;
    line += '=';
    const std::string value = cut(field.value, text_max);
    if (is_bare_word(value)) {
      line += value;
    } else {
      append_json_string(line, value);
    }
  }
  return line;
}

// What `line_of` makes of texts as long as they may be for a line that fits: the short ones, such as ids, stay whole.
template <typename LineOf>
std::string fit(LineOf line_of) {
  std::string line = line_of(std::string_view::npos);
  for (std::size_t text_max = kLogLineMax / 2; line.size() >= kLogLineMax && text_max > 0;
       text_max /= 2)
    line = line_of(text_max);
  return line;
}

}  // namespace

std::string format_log_json(WallTime time, LogLevel level, std::string_view message,
                            std::span<const LogField> fields) {
  return fit(
      [&](std::size_t text_max) { return json_line(time, level, message, fields, text_max); });
}

std::string format_log_text(std::string_view message, std::span<const LogField> fields) {
  return fit([&](std::size_t text_max) { return text_line(message, fields, text_max); });
}

void init_logging(LogLevel level) { output() = make_output(level, ::isatty(STDERR_FILENO) == 1); }

void log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  try {
    Output& out = output();
    if (!out.logger->should_log(spdlog_level(level))) return;
    const std::span<const LogField> all(fields.begin(), fields.size());
    const std::string line = out.text
                                 ? format_log_text(message, all)
                                 : format_log_json(SystemClock().now().wall, level, message, all);
    out.logger->log(spdlog_level(level), spdlog::string_view_t(line.data(), line.size()));
  } catch (const std::exception&) {
    // A log line is never worth the work that it tells of.
  }
}

}  // namespace quern
