#pragma once
#include "cli/exit_code.h"

namespace quern {
/// Prints a fresh secret and its digest for the configuration. The secret is stored nowhere.
ExitCode keys_new_verb(bool json);
}  // namespace quern
