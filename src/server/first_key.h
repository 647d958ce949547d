#pragma once
// The key of a server that was started without a configuration.

#include <filesystem>
#include <string>
#include <string_view>

#include "auth/api_key.h"
#include "base/random.h"
#include "base/result.h"

namespace quern {

/// Reads the secret from `<data>/first-key`, or makes one and writes it there, readable by the
/// owner only. The key may do everything. Errors: unavailable.
Result<ApiKey> open_first_key(const std::filesystem::path& data, Random& random);

/// A secret of the server's own that lives as long as its data: reads `<data>/<name>`, or makes it, like the first key.
/// Errors: unavailable.
Result<std::string> open_secret(const std::filesystem::path& data, std::string_view name,
                                Random& random);

}  // namespace quern
