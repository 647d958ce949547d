#pragma once
// What a process runner says on stdout, line by line: JSON messages, and anything else as a log.
// Everything here reads foreign bytes: nothing is trusted, everything has a limit.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "task/task.h"

namespace quern {

inline constexpr std::size_t kRunnerMessageBytesMax = 4U
                                                      << 20U;  // one JSON line; longer ones are cut
inline constexpr std::size_t kOutputTextBytesMax = 1U << 20U;  // of one text output
inline constexpr std::size_t kErrorTextBytesMax = 4U << 10U;   // of an error line's text

/// Blanks may stand before a message.
inline bool begins_as_message(std::string_view line) {
  const std::size_t start = line.find_first_not_of(" \t");
  return start != std::string_view::npos && line[start] == '{';
}

struct RunnerLog {
  LogSeverity severity = LogSeverity::info;
  std::string message;
};

/// One result as the runner names it: a text output has `text` or `path`, all others `path`.
struct RunnerOutput {
  OutputType type = OutputType::file;
  std::optional<std::string> text;
  std::string path;           // as sent; nothing is known of where it leads
  std::string metadata_json;  // an object, or empty
};

struct RunnerError {
  ErrorType type = ErrorType::inference_failure;
  std::string text;  // for the caller; empty: that of the type
  bool retryable = false;
};

/// What one line said. A line may say several things at once.
struct RunnerMessage {
  std::optional<double> progress;  // 0 to 1
  std::optional<RunnerLog> log;
  std::optional<Result<RunnerOutput>>
      output;  // an error: an output that is not one, with what is wrong
  std::optional<json::object> metadata;
  std::optional<RunnerError> error;
  std::string fault;  // empty, or what is wrong with the line: "is no JSON: …"
};

/// Nothing for a line that is no message (garbage, or JSON without a member that we know): a plain
/// log. A line that is no JSON is read by decode_broken_line().
std::optional<RunnerMessage> decode_runner_line(std::string_view line);
/// What a line meant to say that cannot be read, with `fault` for the reason: an error, without its
/// text, or an output that is none, or neither. Nothing for a line that has no member that we know.
std::optional<RunnerMessage> decode_broken_line(std::string_view line, std::string fault);

/// `text` without a trailing carriage return, cut to at most `bytes_max` between two characters.
std::string_view log_text(std::string_view text, std::size_t bytes_max);

/// Cuts a stream of bytes into lines with bounded memory. A line that begins with `{` is kept up to
/// kRunnerMessageBytesMax, any other up to `text_bytes_max`; what is beyond is passed over.
class LineSplitter {
 public:
  explicit LineSplitter(std::size_t text_bytes_max) : text_bytes_max_(text_bytes_max) {}

  /// Calls `each(line, cut)` for every line that ends in `chunk`; the view holds during the call.
  template <typename Each>
  void feed(std::string_view chunk, Each&& each) {
    while (!chunk.empty()) {
      const std::size_t end = chunk.find('\n');
      const std::string_view piece = chunk.substr(0, end);
      if (end == std::string_view::npos) return hold(piece);
      if (!holding_) {
        const std::string_view line = piece.substr(0, limit(piece));
        each(line, line.size() < piece.size());
      } else {
        hold(piece);
        release(each);
      }
      chunk.remove_prefix(end + 1);
    }
  }

  /// The last line, if it has no newline.
  template <typename Each>
  void finish(Each&& each) {
    if (holding_) release(each);
  }

 private:
  [[nodiscard]] std::size_t limit(std::string_view line) const {
    return begins_as_message(line) ? kRunnerMessageBytesMax : text_bytes_max_;
  }
  void hold(std::string_view piece);
  template <typename Each>
  void release(Each&& each) {
    each(std::string_view(held_), cut_);
    held_.clear();
    if (held_.capacity() > text_bytes_max_) held_.shrink_to_fit();
    holding_ = cut_ = false;
  }

  std::size_t text_bytes_max_;
  std::string held_;      // the beginning of a line whose end has not come
  bool holding_ = false;  // held_ may be empty and yet a line
  bool cut_ = false;
};

}  // namespace quern
