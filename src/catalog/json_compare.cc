#include "catalog/json_compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <vector>

namespace quern {
namespace {

// Holds every int64, uint64 and double exactly: 64 bits of mantissa on x86, 113 on ARM.
using Wide = long double;
static_assert(std::numeric_limits<Wide>::digits >= 64);

Wide widen(const json::value& number) {
  if (number.is_int64()) return static_cast<Wide>(number.get_int64());
  if (number.is_uint64()) return static_cast<Wide>(number.get_uint64());
  return static_cast<Wide>(number.get_double());
}

std::uint64_t magnitude(const json::value& integer) {
  if (integer.is_uint64()) return integer.get_uint64();
  const std::int64_t value = integer.get_int64();
  return value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
}

__extension__ using Wide128 = unsigned __int128;

// digits * 10^exponent, without the sign.
struct Decimal {
  std::uint64_t digits;
  int exponent;
};

// Of a double the shortest digits that mean it, at most 17.
Decimal decimal_of(const json::value& number) {
  if (!number.is_double()) return {.digits = magnitude(number), .exponent = 0};
  const std::string text = fmt::format("{:e}", std::fabs(number.get_double()));  // "1.25e-05"
  Decimal decimal{.digits = 0, .exponent = 0};
  std::size_t i = 0;
  for (bool after_point = false; text[i] != 'e'; ++i) {
    if (text[i] == '.') {
      after_point = true;
      continue;
    }
    decimal.digits = decimal.digits * 10 + static_cast<std::uint64_t>(text[i] - '0');
    if (after_point) --decimal.exponent;
  }
  decimal.exponent += std::stoi(text.substr(i + 1));
  return decimal;
}

// One text for all values that are equal.
void append_canonical(std::string& out, const json::value& value) {
  switch (value.kind()) {
    case json::kind::array:
      out += '[';
      for (const json::value& item : value.get_array()) {
        append_canonical(out, item);
        out += ',';
      }
      out += ']';
      return;
    case json::kind::object: {
      std::vector<const json::key_value_pair*> members;
      for (const json::key_value_pair& member : value.get_object()) members.push_back(&member);
      std::ranges::sort(members, {},
                        [](const auto* member) { return std::string_view(member->key()); });
      out += '{';
      for (const auto* member : members) {
        append_json_string(out, member->key());
        out += ':';
        append_canonical(out, member->value());
        out += ',';
      }
      out += '}';
      return;
    }
    case json::kind::double_:
      // Integers are written as such; 2^64 and beyond have no other form.
      if (is_integral(value) && std::fabs(value.get_double()) < 0x1p63) {
        fmt::format_to(std::back_inserter(out), "{}",
                       static_cast<std::int64_t>(value.get_double()));
      } else if (is_integral(value) && value.get_double() >= 0x1p63 &&
                 value.get_double() < 0x1p64) {
        fmt::format_to(std::back_inserter(out), "{}",
                       static_cast<std::uint64_t>(value.get_double()));
      } else {
        fmt::format_to(std::back_inserter(out), "{}", value.get_double());
      }
      return;
    default:
      out += to_json(value);
  }
}

}  // namespace

std::partial_ordering compare_numbers(const json::value& a, const json::value& b) {
  return widen(a) <=> widen(b);
}

bool is_integral(const json::value& number) {
  return !number.is_double() || std::trunc(number.get_double()) == number.get_double();
}

// The division is done on the decimal digits that the numbers are written with, so that 0.3 is a
// multiple of 0.1: with n = a*10^x and d = b*10^y, n is a multiple of d if b divides a*10^(x-y).
bool is_multiple(const json::value& number, const json::value& divisor) {
  const Decimal n = decimal_of(number);
  const Decimal d = decimal_of(divisor);
  if (n.digits == 0) return true;
  Wide128 rest = n.digits % d.digits;
  for (int i = d.exponent; i < n.exponent; ++i) rest = rest * 10 % d.digits;
  Wide128 scaled = d.digits;
  for (int i = n.exponent; i < d.exponent; ++i) {
    scaled *= 10;
    if (scaled > n.digits) return false;
  }
  return n.exponent < d.exponent ? n.digits % scaled == 0 : rest == 0;
}

bool json_equal(const json::value& a, const json::value& b) {
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case json::kind::array:
      return std::ranges::equal(
          a.get_array(), b.get_array(),
          [](const json::value& x, const json::value& y) { return json_equal(x, y); });
    case json::kind::object:
      return json_equal(a.get_object(), b.get_object());
    case json::kind::string:
      return std::string_view(a.get_string()) == std::string_view(b.get_string());
    case json::kind::bool_:
      return a.get_bool() == b.get_bool();
    default:
      return true;  // null
  }
}

bool json_equal(const json::object& a, const json::object& b) {
  return a.size() == b.size() && std::ranges::all_of(a, [&](const json::key_value_pair& member) {
           const json::value* other = b.if_contains(member.key());
           return other != nullptr && json_equal(member.value(), *other);
         });
}

bool has_duplicates(const json::array& items) {
  std::vector<std::string> texts;
  texts.reserve(items.size());
  for (const json::value& item : items) append_canonical(texts.emplace_back(), item);
  std::ranges::sort(texts);
  return std::ranges::adjacent_find(texts) != texts.end();
}

}  // namespace quern
