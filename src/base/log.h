#pragma once
// Log lines: text on a terminal, one JSON object a line otherwise. Never a secret, never an input
// or an output body.

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace quern {

enum class LogLevel { debug, info, warn, error };

/// One named value of a log line: {"task", id}. Both live at least as long as the call that logs.
struct LogField {
  std::string_view name;
  std::string_view value;
};

/// Picks the format: text if stderr is a terminal, else JSON lines. Call once, before threads
/// start.
void init_logging(LogLevel level);

/// Threads: any. Never throws and never blocks on anything but stderr, and on that for a second: if nobody reads it,
/// lines are dropped, and counted in one that says so once somebody does.
void log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {});

inline void log_debug(std::string_view m, std::initializer_list<LogField> f = {}) {
  log(LogLevel::debug, m, f);
}
inline void log_info(std::string_view m, std::initializer_list<LogField> f = {}) {
  log(LogLevel::info, m, f);
}
inline void log_warn(std::string_view m, std::initializer_list<LogField> f = {}) {
  log(LogLevel::warn, m, f);
}
inline void log_error(std::string_view m, std::initializer_list<LogField> f = {}) {
  log(LogLevel::error, m, f);
}

/// The line that `log` writes when stderr is no terminal: `time`, `level`, `msg`, then the fields
/// in their order. Control characters are escaped, invalid UTF-8 is replaced, long texts are cut to "begi… (60000 bytes)":
/// whatever the texts, it is one line of at most PIPE_BUF (4,096) bytes with its line break.
std::string format_log_json(WallTime time, LogLevel level, std::string_view message,
                            std::span<const LogField> fields);
/// What follows time and level on a terminal: the message, then name=value. Values with more than
/// visible ASCII are quoted; control characters are escaped; long texts are cut as above.
std::string format_log_text(std::string_view message, std::span<const LogField> fields);

}  // namespace quern
