#pragma once
// Which keys each table of a configuration may have, of what kind, and what they do to the settings.

#include <string_view>
#include <vector>

#include "server/config_table.h"
#include "server/settings.h"

namespace quern {

const std::vector<ConfigKey<Settings>>& server_keys();
const std::vector<ConfigKey<Settings>>& store_keys();
const std::vector<ConfigKey<Settings>>& retention_keys();
const std::vector<ConfigKey<Settings>>& input_keys();
const std::vector<ConfigKey<ApiKey>>& key_keys();
const std::vector<ConfigKey<ExecutorSpec>>& executor_keys();
const std::vector<ConfigKey<Model>>& model_keys();

/// The configuration holds the secret itself, which calls for a warning.
bool is_plain_secret(std::string_view text);

}  // namespace quern
