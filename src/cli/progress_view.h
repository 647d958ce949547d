#pragma once
// Shows how a task gets on: a bar that redraws itself on a terminal, a line per change elsewhere.
// To stderr.

#include <chrono>
#include <string>

#include "quern/client.h"

namespace quern {

enum class ProgressStyle { none, lines, bar };

/// A bar if stderr is a terminal.
ProgressStyle default_progress_style();

/// "IN_QUEUE  position 3, starts in about 12 s", "IN_PROGRESS  [########------------]  42 %".
std::string describe_state(const StatusReport& report);

class ProgressView {
 public:
  ProgressView(std::string label, ProgressStyle style);
  ~ProgressView();
  ProgressView(const ProgressView&) = delete;
  ProgressView& operator=(const ProgressView&) = delete;

  void show(const StatusReport& report);

 private:
  std::string label_;
  ProgressStyle style_;
  std::string last_;  // what was shown, without the time, to leave out repetitions
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  bool drawn_ = false;
};

}  // namespace quern
