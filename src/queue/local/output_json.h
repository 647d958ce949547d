#pragma once
// Outputs as the journal stores them: a JSON array, absent fields left out.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "task/task.h"

namespace quern {

/// "" for no outputs.
std::string encode_outputs(std::span<const Output> outputs);
/// Errors: data_loss (not what encode_outputs makes).
Result<std::vector<Output>> decode_outputs(std::string_view text);
/// Those of them that are files. What cannot be read names none.
std::vector<Output> decode_files(std::string_view text);

}  // namespace quern
