#include "task/task_state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace quern {
namespace {

using enum TaskState;

constexpr TaskState kAll[] = {queued, running, succeeded, failed, canceled};

TEST(TaskState, AllowsExactlyTheMovesOfTheDesign) {
  const std::vector<std::pair<TaskState, TaskState>> legal = {
      {queued, running},   {queued, failed},     {queued, canceled},
      {running, queued},   {running, succeeded}, {running, failed},
      {running, canceled}, {failed, queued},     {canceled, queued}};
  for (const TaskState from : kAll) {
    for (const TaskState to : kAll) {
      const bool expected = std::ranges::count(legal, std::pair{from, to}) == 1;
      EXPECT_EQ(is_legal_move(from, to), expected) << int(from) << " to " << int(to);
    }
  }
}

TEST(TaskState, NeverLeavesASuccess) {
  for (const TaskState to : kAll) EXPECT_FALSE(is_legal_move(succeeded, to));
}

TEST(DefaultErrorText, IsTheProtocols) {
  EXPECT_EQ(default_error_text(ErrorType::none), "");
  EXPECT_EQ(default_error_text(ErrorType::canceled), "Task canceled");
  EXPECT_EQ(default_error_text(ErrorType::inference_timeout), "Task execution timed out");
  EXPECT_EQ(default_error_text(ErrorType::inference_failure), "Task execution failed");
  EXPECT_EQ(default_error_text(ErrorType::request_invalid), "Task execution failed");
}

}  // namespace
}  // namespace quern
