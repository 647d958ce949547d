#pragma once
// JSON values compared as JSON Schema means it: numbers by their mathematical value (1 and 1.0 are
// equal), objects whatever the order of their members.

#include <compare>
#include <string>

#include "base/json.h"

namespace quern {

/// Exact over the whole range of int64, uint64 and double. Both are numbers.
std::partial_ordering compare_numbers(const json::value& a, const json::value& b);

/// A number without a fractional part, however it is written.
bool is_integral(const json::value& number);

/// By the decimal digits that the numbers are written with: 0.3 is a multiple of 0.1. The divisor
/// is above 0.
bool is_multiple(const json::value& number, const json::value& divisor);

bool json_equal(const json::value& a, const json::value& b);
bool json_equal(const json::object& a, const json::object& b);

/// Some two items are equal.
bool has_duplicates(const json::array& items);

}  // namespace quern
