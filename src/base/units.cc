#include "base/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <iterator>
#include <limits>
#include <optional>
#include <span>

namespace quern {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t size;
};

constexpr std::array kByteUnits{
    Unit{"", 1},
    Unit{"B", 1},
    Unit{"KiB", 1ULL << 10U},
    Unit{"MiB", 1ULL << 20U},
    Unit{"GiB", 1ULL << 30U},
    Unit{"TiB", 1ULL << 40U},
    Unit{"kB", 1'000},
    Unit{"KB", 1'000},
    Unit{"MB", 1'000'000},
    Unit{"GB", 1'000'000'000},
    Unit{"TB", 1'000'000'000'000},
};

// Largest first; sizes in milliseconds.
constexpr std::array kTimeUnits{
    Unit{"d", 86'400'000}, Unit{"h", 3'600'000}, Unit{"m", 60'000}, Unit{"s", 1'000}, Unit{"ms", 1},
};

const Unit* find_unit(std::span<const Unit> units, std::string_view name) {
  for (const Unit& unit : units) {
    if (unit.name == name) return &unit;
  }
  return nullptr;
}

std::optional<std::uint64_t> multiply(std::uint64_t a, std::uint64_t b) {
  std::uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// Takes a whole number off the front of `text`; nothing if there is none or it does not fit.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

std::string_view take_word(std::string_view& text) {
  std::size_t size = 0;
  while (size < text.size() && text[size] >= 'a' && text[size] <= 'z') ++size;
  const std::string_view word = text.substr(0, size);
  text.remove_prefix(size);
  return word;
}

void skip_space(std::string_view& text) {
  if (text.starts_with(' ')) text.remove_prefix(1);
}

std::unexpected<Error> bad(std::string_view text, std::string_view expected) {
  return fail(ErrorCode::invalid_argument, fmt::format("\"{}\" is not {}", text, expected));
}

constexpr std::string_view kBytesForm =
    R"(a size: expected a whole number and a unit, such as "512", "10KiB" or "2GiB")";
constexpr std::string_view kDurationForm =
    R"(a duration: expected a whole number and a unit (ms, s, m, h, d), such as "250ms" or "24h")";
constexpr std::string_view kRateForm =
    R"(a rate: expected a number above 0 and a unit (/s, /m, /h), such as "200/s")";

}  // namespace

Result<std::uint64_t> parse_bytes(std::string_view text) {
  std::string_view rest = text;
  const auto number = take_number(rest);
  if (!number) return bad(text, kBytesForm);
  if (rest.size() > 1) skip_space(rest);
  const Unit* unit = find_unit(kByteUnits, rest);
  if (unit == nullptr) return bad(text, kBytesForm);
  const auto bytes = multiply(*number, unit->size);
  if (!bytes) return bad(text, "a size that fits 64 bits");
  return *bytes;
}

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  constexpr std::uint64_t kTotalMax =
      100ULL * 365 * 86'400'000;  // a century: sums of two never overflow
  std::string_view rest = text;
  std::span<const Unit> units = kTimeUnits;
  std::uint64_t total = 0;
  do {
    const auto number = take_number(rest);
    if (!number) return bad(text, kDurationForm);
    const Unit* unit = find_unit(units, take_word(rest));
    if (unit == nullptr) return bad(text, kDurationForm);
    if (*number > (kTotalMax - total) / unit->size) return bad(text, "a duration below 100 years");
    total += *number * unit->size;
    units = std::span(unit + 1, std::to_address(kTimeUnits.end()));  // "1m 30s": each part is finer
    if (rest.size() > 1) skip_space(rest);
  } while (!rest.empty());
  return std::chrono::milliseconds(total);
}

Result<double> parse_rate(std::string_view text) {
  static constexpr std::array kPer{Unit{"/s", 1}, Unit{"/m", 60}, Unit{"/h", 3600}};
  double number = 0;
  const auto [end, ec] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (ec != std::errc{} || !std::isfinite(number) || number <= 0) return bad(text, kRateForm);
  const Unit* unit = find_unit(kPer, text.substr(static_cast<std::size_t>(end - text.data())));
  if (unit == nullptr) return bad(text, kRateForm);
  return number / static_cast<double>(unit->size);
}

std::string format_bytes(std::uint64_t bytes) {
  static constexpr std::array<std::string_view, 7> kNames{"B",   "KiB", "MiB", "GiB",
                                                          "TiB", "PiB", "EiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1023.95 &&
         unit + 1 < kNames.size()) {  // what would be shown as 1024.0 is 1 of the next
    value /= 1024;
    ++unit;
  }
  const double shown = std::round(value * 10) / 10;
  return fmt::format("{} {}", shown, kNames[unit]);
}

std::string format_duration(std::chrono::milliseconds value) {
  std::string text = value.count() < 0 ? "-" : "";
  auto rest = static_cast<std::uint64_t>(value.count());
  if (value.count() < 0) rest = 0 - rest;
  if (rest == 0) return "0ms";
  bool first = true;
  for (const Unit& unit : kTimeUnits) {
    if (rest < unit.size) continue;
    fmt::format_to(std::back_inserter(text), "{}{}{}", first ? "" : " ", rest / unit.size,
                   unit.name);
    rest %= unit.size;
    first = false;
  }
  return text;
}

}  // namespace quern
