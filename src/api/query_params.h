#pragma once
// Parameters of a query, read one at a time without building a table of them.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace quern::api {

/// The decoded value of the first parameter of this name; nullopt if there is none.
std::optional<std::string> find_param(std::string_view query, std::string_view name);
/// Any parameter of this name has a value that is not empty.
bool has_param_value(std::string_view query, std::string_view name);
/// True for `1` and `true`.
bool find_flag(std::string_view query, std::string_view name);

/// Seconds as "2", "2.5" or "2e3", not negative; more than 300 years count as 300. Nullopt for anything else.
std::optional<std::chrono::milliseconds> parse_seconds(std::string_view text);
/// Digits only; nullopt for anything else.
std::optional<std::uint64_t> parse_count(std::string_view text);

}  // namespace quern::api
