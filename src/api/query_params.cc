#include "api/query_params.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "http/message.h"

namespace quern::api {
namespace {

constexpr double kSecondsMax = 1e10;  // 300 years; more count as so many

bool is_plain(std::string_view text) { return text.find_first_of("%+") == std::string_view::npos; }

// As http::parse_query decodes: '+' is a space, a broken escape stays as it is.
std::string decode(std::string_view text) {
  if (is_plain(text)) return std::string(text);
  std::string spaced(text);
  for (char& c : spaced) {
    if (c == '+') c = ' ';
  }
  return http::percent_decode(spaced).value_or(spaced);
}

// Calls visit(value, undecoded) for each parameter of this name until it says true.
template <typename Visit>
void for_each_param(std::string_view query, std::string_view name, Visit visit) {
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    const std::string_view found = pair.substr(0, pair.find('='));
    if (found != name && (is_plain(found) || decode(found) != name)) continue;
    if (visit(pair.substr(std::min(found.size() + 1, pair.size())))) return;
  }
}

}  // namespace

std::optional<std::string> find_param(std::string_view query, std::string_view name) {
  std::optional<std::string> value;
  for_each_param(query, name, [&](std::string_view raw) {
    value = decode(raw);
    return true;
  });
  return value;
}

bool has_param_value(std::string_view query, std::string_view name) {
  bool has_value = false;
  for_each_param(query, name, [&](std::string_view raw) { return has_value = !raw.empty(); });
  return has_value;
}

bool find_flag(std::string_view query, std::string_view name) {
  const auto value = find_param(query, name);
  return value && (*value == "1" || *value == "true");
}

std::optional<std::chrono::milliseconds> parse_seconds(std::string_view text) {
  double seconds = 0;
  const char* end = text.data() + text.size();
  const auto [stop, ec] = std::from_chars(text.data(), end, seconds, std::chars_format::general);
  if (ec != std::errc{} || stop != end || !std::isfinite(seconds)) return std::nullopt;
  if (std::signbit(seconds)) return std::nullopt;
  const double bounded = std::min(seconds, kSecondsMax);
  return std::chrono::milliseconds(static_cast<std::int64_t>(std::ceil(bounded * 1000)));
}

std::optional<std::uint64_t> parse_count(std::string_view text) {
  std::uint64_t count = 0;
  const char* end = text.data() + text.size();
  const auto [stop, ec] = std::from_chars(text.data(), end, count);
  if (ec != std::errc{} || stop != end) return std::nullopt;
  return count;
}

}  // namespace quern::api
