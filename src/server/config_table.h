#pragma once
// Configuration keys as data: one row a key, with its kind, default, bounds and meaning. The same
// rows read the file and print the reference (docs/OPERATING.md).

#include <fmt/format.h>
#include <toml++/toml.h>

#include <chrono>
#include <concepts>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"

namespace quern {

/// What is wrong with a value, in words that fit behind "key: "; nullopt: it was taken.
using Complaint = std::optional<std::string>;

template <typename Target>
struct ConfigKey {
  std::string_view name;
  std::string_view kind;      // "duration", "size", … for the reference
  std::string_view fallback;  // the default, as one would write it
  std::string_view meaning;
  std::function<Complaint(Target&, const toml::node&)> set;
};

namespace config {

inline Complaint want(std::string_view what) { return fmt::format("expected {}", what); }

template <typename Target, typename Field>
auto text(Field field) {
  return [field](Target& target, const toml::node& node) -> Complaint {
    const auto value = node.value_exact<std::string>();
    if (!value) return want("a string");
    field(target) = *value;
    return std::nullopt;
  };
}

template <typename Target, typename Field>
auto texts(Field field) {
  return [field](Target& target, const toml::node& node) -> Complaint {
    const toml::array* array = node.as_array();
    if (array == nullptr) return want("a list of strings");
    std::vector<std::string> values;
    for (const toml::node& item : *array) {
      const auto value = item.value_exact<std::string>();
      if (!value) return want("a list of strings");
      values.push_back(*value);
    }
    field(target) = std::move(values);
    return std::nullopt;
  };
}

template <typename Target, typename Field>
auto flag(Field field) {
  return [field](Target& target, const toml::node& node) -> Complaint {
    const auto value = node.value_exact<bool>();
    if (!value) return want("true or false");
    field(target) = *value;
    return std::nullopt;
  };
}

template <typename Target, typename Field>
auto count(Field field, std::int64_t low, std::int64_t high) {
  return [=](Target& target, const toml::node& node) -> Complaint {
    const auto value = node.value_exact<std::int64_t>();
    if (!value || *value < low || *value > high) {
      return want(fmt::format("a whole number from {} to {}", low, high));
    }
    using Value = std::remove_reference_t<decltype(field(target))>;
    field(target) = static_cast<Value>(*value);
    return std::nullopt;
  };
}

template <typename Target, typename Field>
auto number(Field field, double low, double high) {
  return [=](Target& target, const toml::node& node) -> Complaint {
    const auto value = node.value<double>();
    if (!value || !(*value >= low && *value <= high)) {
      return want(fmt::format("a number from {} to {}", low, high));
    }
    field(target) = *value;
    return std::nullopt;
  };
}

template <typename Target, typename Field>
auto size(Field field, std::uint64_t low, std::uint64_t high) {
  return [=](Target& target, const toml::node& node) -> Complaint {
    const auto written = node.value_exact<std::string>();
    if (!written) return want("a size such as \"10MiB\"");
    const auto bytes = parse_bytes(*written);
    if (!bytes) return bytes.error().message;
    if (*bytes < low || *bytes > high) {
      return want(fmt::format("a size from {} to {}", format_bytes(low), format_bytes(high)));
    }
    field(target) = *bytes;
    return std::nullopt;
  };
}

template <typename Target, typename Field>
auto duration(Field field, std::chrono::milliseconds low, std::chrono::milliseconds high) {
  return [=](Target& target, const toml::node& node) -> Complaint {
    const auto written = node.value_exact<std::string>();
    if (!written) return want("a duration such as \"60s\"");
    const auto value = parse_duration(*written);
    if (!value) return value.error().message;
    if (*value < low || *value > high) {
      return want(
          fmt::format("a duration from {} to {}", format_duration(low), format_duration(high)));
    }
    field(target) = *value;
    return std::nullopt;
  };
}

}  // namespace config
}  // namespace quern
