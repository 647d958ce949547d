#include "api/fal_options.h"

#include <algorithm>
#include <array>

#include "api/query_params.h"
#include "base/ascii.h"
#include "task/start_timeout.h"

namespace quern::api {
namespace {

constexpr std::string_view kTooLong = "Input should be less than or equal to 31622400";
static_assert(std::chrono::seconds(kStartTimeoutMax).count() == 31'622'400);

bool is_one_of(std::string_view value, std::initializer_list<std::string_view> names) {
  return std::ranges::any_of(
      names, [&](std::string_view name) { return equals_ignoring_case(value, name); });
}

std::optional<BadOption> read_priority(std::string_view value, Submission& submission) {
  if (value.empty() || is_one_of(value, {"normal"})) return std::nullopt;
  if (!is_one_of(value, {"low"}))
    return BadOption{"header", "x-fal-queue-priority", "Input should be 'normal' or 'low'", "enum"};
  submission.priority = Priority::low;
  return std::nullopt;
}

// Of the two names for a start timeout the smaller value wins.
std::optional<BadOption> read_start_timeout(std::string_view name, std::string_view value,
                                            Submission& submission) {
  if (value.empty()) return std::nullopt;
  const auto time = parse_seconds(value);
  if (time && *time > kStartTimeoutMax)
    return BadOption{"header", name, kTooLong, "less_than_equal"};
  if (!time || time->count() <= 0)
    return BadOption{"header", name, "Input should be a number of seconds greater than 0",
                     "greater_than"};
  submission.start_timeout = std::min(submission.start_timeout.value_or(*time), *time);
  return std::nullopt;
}

std::optional<BadOption> read_no_retry(std::string_view value, Submission& submission) {
  if (value.empty() || is_one_of(value, {"0", "false", "no"})) return std::nullopt;
  if (!is_one_of(value, {"1", "true", "yes"}))
    return BadOption{"header", "x-fal-no-retry", "Input should be a valid boolean", "bool_parsing"};
  submission.no_retry = true;
  return std::nullopt;
}

std::optional<BadOption> read_queue_length(std::string_view query, Submission& submission) {
  if (query.empty()) return std::nullopt;
  const auto value = find_param(query, "fal_max_queue_length");
  if (!value) return std::nullopt;
  submission.model_queued_max = parse_count(*value);
  if (submission.model_queued_max) return std::nullopt;
  return BadOption{"query", "fal_max_queue_length", "Input should be a valid integer, 0 or more",
                   "int_parsing"};
}

}  // namespace

std::optional<BadOption> read_fal_options(const Call& call, Submission& submission) {
  const RequestHeads& heads = call.heads;
  if (auto bad = read_priority(heads.fal_priority, submission)) return bad;
  if (auto bad =
          read_start_timeout("x-fal-request-start-timeout", heads.fal_start_timeout, submission))
    return bad;
  if (auto bad = read_start_timeout("x-fal-request-timeout", heads.fal_timeout, submission))
    return bad;
  if (auto bad = read_no_retry(heads.fal_no_retry, submission)) return bad;
  return read_queue_length(call.query, submission);
}

}  // namespace quern::api
