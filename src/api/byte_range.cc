#include "api/byte_range.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

#include "base/ascii.h"

namespace quern::api {
namespace {

// Digits only; more than fit are as good as the largest number.
std::optional<std::uint64_t> parse_position(std::string_view text) {
  if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos)
    return std::nullopt;
  std::uint64_t value = 0;
  const auto ec = std::from_chars(text.data(), text.data() + text.size(), value).ec;
  return ec == std::errc{} ? value : std::numeric_limits<std::uint64_t>::max();
}

ByteRange parse_suffix(std::string_view digits, std::uint64_t size) {
  const auto last = parse_position(digits);
  if (!last) return {};
  if (*last == 0 || size == 0) return {ByteRange::Kind::unsatisfiable, 0, 0};
  const std::uint64_t bytes = std::min(*last, size);
  return {ByteRange::Kind::part, size - bytes, bytes};
}

}  // namespace

ByteRange parse_range(std::string_view header, std::uint64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  if (header.size() <= kUnit.size() || !equals_ignoring_case(header.substr(0, kUnit.size()), kUnit))
    return {};
  const std::string_view spec = header.substr(kUnit.size());
  const std::size_t dash = spec.find('-');
  if (dash == std::string_view::npos) return {};
  if (dash == 0) return parse_suffix(spec.substr(1), size);

  const auto first = parse_position(spec.substr(0, dash));
  const std::string_view end = spec.substr(dash + 1);
  const auto last =
      end.empty() ? std::optional(std::numeric_limits<std::uint64_t>::max()) : parse_position(end);
  if (!first || !last || *last < *first) return {};
  if (*first >= size) return {ByteRange::Kind::unsatisfiable, 0, 0};
  return {ByteRange::Kind::part, *first, std::min(*last, size - 1) - *first + 1};
}

}  // namespace quern::api
