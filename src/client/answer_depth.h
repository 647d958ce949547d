#pragma once
// How deep the JSON of a server's answer may be.

#include "base/json.h"

namespace quern {

/// More than of what callers and runners send, which an answer holds some levels down.
inline constexpr std::size_t kAnswerDepthMax = kJsonDepthMax + 16;

}  // namespace quern
