#include "cli/progress_view.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "cli/table.h"

namespace quern {
namespace {

constexpr int kBarCells = 20;

std::string bar(double fraction) {
  fraction = std::clamp(fraction, 0.0, 1.0);  // whatever the server said
  const int filled = static_cast<int>(std::lround(fraction * kBarCells));
  return fmt::format("[{}{}] {:3.0f} %", std::string(static_cast<std::size_t>(filled), '#'),
                     std::string(static_cast<std::size_t>(kBarCells - filled), '-'),
                     fraction * 100);
}

}  // namespace

std::string describe_state(const StatusReport& report) {
  switch (report.status) {
    case TaskStatus::in_queue: {
      std::string text = "IN_QUEUE";
      if (report.queue_position) text += fmt::format("  position {}", *report.queue_position);
      if (report.eta) text += fmt::format(", starts in about {:.0f} s", *report.eta);
      return text;
    }
    case TaskStatus::in_progress:
      return "IN_PROGRESS" + (report.progress ? "  " + bar(*report.progress) : std::string());
    case TaskStatus::completed:
      if (!report.error.empty())
        return one_line(fmt::format("COMPLETED  {}: {}", report.error_type, report.error));
      return "COMPLETED  " + bar(1) +
             (report.inference_time ? fmt::format("  ran {:.2f} s", *report.inference_time)
                                    : std::string());
  }
  return {};
}

ProgressStyle default_progress_style() {
  return ::isatty(STDERR_FILENO) == 1 ? ProgressStyle::bar : ProgressStyle::lines;
}

ProgressView::ProgressView(std::string label, ProgressStyle style)
    : label_(std::move(label)), style_(style) {}

ProgressView::~ProgressView() {
  if (drawn_ && style_ == ProgressStyle::bar) std::fputc('\n', stderr);
}

void ProgressView::show(const StatusReport& report) {
  if (style_ == ProgressStyle::none) return;
  const std::string state = describe_state(report);
  const bool repeated = drawn_ && state == last_;
  if (repeated && style_ == ProgressStyle::lines) return;
  last_ = state;
  drawn_ = true;
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - started_;
  const std::string line = fmt::format("{}  {}  {:.1f} s", label_, state, elapsed.count());
  if (style_ == ProgressStyle::bar) {
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
  std::fflush(stderr);
}

}  // namespace quern
