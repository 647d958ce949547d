#pragma once
// The talk with one runner: its input goes in, its lines come out, until it ends or is ended.

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "queue/queue.h"
#include "runner/child_process.h"
#include "runner/executor.h"
#include "runner/output_collector.h"
#include "runner/runner_lines.h"

namespace quern {

/// Threads: one.
class Conversation {
 public:
  struct Options {
    std::string input;                // for stdin, which is closed behind it
    FileDescriptor wake;              // make_wake()
    std::chrono::milliseconds grace;  // from SIGTERM to SIGKILL; and from an error line to SIGTERM
  };
  struct End {
    ChildEnd child;
    bool stopped = false;              // the stop came before the program's own end
    std::optional<RunnerError> error;  // of the first error line
    bool error_first = false;          // and it came before any stop
  };

  /// What a stop makes itself heard by. Make it before the program starts: without it, there is no
  /// stopping.
  static Result<FileDescriptor> make_wake();

  Conversation(ChildProcess& child, ProgressSink& sink, const Clock& clock, Options options);

  /// Returns when the whole process tree is dead and all that it said is read. A program that never
  /// reads its input, closes its streams early or writes without end holds up nothing; memory stays
  /// bounded.
  End hold(std::stop_token stop);
  /// What the program said of its results.
  OutputCollector& outputs() { return outputs_; }

 private:
  [[nodiscard]] std::chrono::steady_clock::time_point next_due() const;
  void wait_for_news();
  void follow_schedule();
  void write_input();
  bool read_some(FileDescriptor& from, LineSplitter& splitter, LogSeverity severity);
  void read_rest(FileDescriptor& from, LineSplitter& splitter, LogSeverity severity);
  struct LineEnd {
    bool cut = false;   // it was longer than we keep
    bool torn = false;  // no newline came: the program may have died over it
  };
  void hear_line(std::string_view line, LineEnd end, LogSeverity severity);
  void hear_last_line(LineSplitter& splitter, LogSeverity severity);
  void hear_message(RunnerMessage message, std::size_t bytes);
  void log(LogSeverity severity, std::string_view text, bool from_quern = false);
  void begin_end();

  ChildProcess& child_;
  ProgressSink& sink_;
  const Clock& clock_;
  Options options_;
  std::size_t written_ = 0;  // of options_.input
  LineSplitter out_lines_{kLogLineBytesMax};
  LineSplitter err_lines_{kLogLineBytesMax};
  std::unique_ptr<char[]> buffer_;
  WallTime heard_at_;  // of the chunk that is being read
  OutputCollector outputs_;
  std::optional<RunnerMessage> torn_;  // that was no JSON, if it had no end either
  std::optional<RunnerError> error_;
  bool error_first_ = false;  // before a stop was seen
  bool exited_ = false;
  bool stop_seen_ = false;  // before the program's end
  std::optional<std::chrono::steady_clock::time_point>
      term_at_;  // the program said an error, and may tidy up until then
  std::optional<std::chrono::steady_clock::time_point> kill_at_;  // SIGTERM was sent
  std::chrono::steady_clock::time_point reap_at_;
};

}  // namespace quern
