#pragma once
// The key of a server that was started without a configuration.

#include <filesystem>

#include "auth/api_key.h"
#include "base/random.h"
#include "base/result.h"

namespace quern {

/// Reads the secret from `<data>/first-key`, or makes one and writes it there, readable by the
/// owner only. The key may do everything. Errors: unavailable.
Result<ApiKey> open_first_key(const std::filesystem::path& data, Random& random);

}  // namespace quern
