#pragma once
// What a caller of the fal dialect may ask for beside the input (docs/API.md, "The fal dialect").

#include <optional>
#include <string_view>

#include "api/call.h"
#include "queue/queue.h"

namespace quern::api {

/// What is wrong with one header or parameter.
struct BadOption {
  std::string_view place;  // "header", "query"
  std::string_view name;
  std::string_view msg;
  std::string_view type;  // as pydantic names it
};

/// Fills in priority, start timeout, retry and queue length; the first malformed one is returned.
std::optional<BadOption> read_fal_options(const Call& call, Submission& submission);

}  // namespace quern::api
