#pragma once
// Reads configuration files (TOML). Unknown keys, bad units and unreadable files are errors with
// file and line.

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"
#include "server/settings.h"

namespace quern {

/// Reads `file` and what it includes; paths in a file are relative to its folder. `env:NAME` is
/// taken from the environment. Errors: invalid_argument, "quern.toml:12: [server] body_max:
/// expected …".
Result<Settings> load_settings(const std::filesystem::path& file);
/// The same for a text that is, or would be, in `file`.
Result<Settings> parse_settings(std::string_view text, const std::filesystem::path& file);

/// The settings of `quern serve` without a file: the example models of `models_file`, data in
/// `data`, no key yet.
Result<Settings> default_settings(const std::filesystem::path& models_file,
                                  const std::filesystem::path& data);

/// Every key with kind, default and meaning, as Markdown tables.
std::string settings_reference();

}  // namespace quern
