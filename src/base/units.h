#pragma once
// Sizes, durations and rates as people write them in configuration files and on command lines.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace quern {

/// "512", "10KiB", "10MiB", "2GiB", "10MB" (powers of 1000). Errors: invalid_argument, saying what
/// was expected.
Result<std::uint64_t> parse_bytes(std::string_view text);
/// "250ms", "60s", "5m", "24h", "7d"; a bare number is refused. Errors: invalid_argument.
Result<std::chrono::milliseconds> parse_duration(std::string_view text);
/// "200/s", "30/m", "1000/h": events per second. Errors: invalid_argument.
Result<double> parse_rate(std::string_view text);

std::string format_bytes(std::uint64_t bytes);                 // "1.5 MiB"
std::string format_duration(std::chrono::milliseconds value);  // "1m 30s", "250ms"

}  // namespace quern
