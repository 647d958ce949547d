#pragma once
// The words of input faults, as pydantic-core 2 has them (src/errors/types.rs there), and what is
// wrong with a URI.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "catalog/schema_node.h"

namespace quern::schema {

inline constexpr std::string_view kValueError = "value_error";
inline constexpr std::string_view kValueErrorPrefix = "Value error, ";
inline constexpr std::string_view kFractionMessage =
    "Input should be a valid integer, got a number with a fractional part";

/// What a value of the wrong type is told.
struct TypeFault {
  Types type;
  std::string_view name;
  std::string_view msg;
};
std::span<const TypeFault> type_faults();

/// "Input should be 'a', 'b' or 3"
std::string one_of_message(const json::array& choices);
/// "Input should be greater than 1"
std::string limit_message(std::string_view relation, const json::value& limit);
/// "String should have at least 1 character"
std::string length_message(std::string_view least_or_most, std::uint64_t limit);
/// "List should have at most 2 items after validation, not 3"
std::string size_message(std::string_view what, std::string_view least_or_most, std::uint64_t limit,
                         std::size_t size);

/// What keeps `text` from being an absolute URI (RFC 3986); empty if it is one.
std::string_view uri_fault(std::string_view text);

}  // namespace quern::schema
