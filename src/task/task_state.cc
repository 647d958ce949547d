#include "task/task_state.h"

#include <array>
#include <utility>

namespace quern {
namespace {

constexpr std::size_t kStates = 5;
constexpr bool o = false;
constexpr bool X = true;

constexpr std::array<std::array<bool, kStates>, kStates> kLegal{{
    // to: queued running succeeded failed canceled      from:
    {o, X, o, X, X},  // queued
    {X, o, X, X, X},  // running
    {o, o, o, o, o},  // succeeded
    {X, o, o, o, o},  // failed
    {X, o, o, o, o},  // canceled
}};
static_assert(std::to_underlying(TaskState::canceled) == kStates - 1);

}  // namespace

bool is_legal_move(TaskState from, TaskState to) {
  return kLegal[std::to_underlying(from)][std::to_underlying(to)];
}

std::string_view default_error_text(ErrorType type) {
  switch (type) {
    case ErrorType::none:
      return {};
    case ErrorType::canceled:
      return kTextCanceled;
    case ErrorType::inference_timeout:
      return kTextTimedOut;
    case ErrorType::request_invalid:
    case ErrorType::content_blocked:
    case ErrorType::inference_failure:
    case ErrorType::internal_server_error:
      return kTextFailed;
  }
  return kTextFailed;
}

}  // namespace quern
