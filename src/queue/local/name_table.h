#pragma once
// Small numbers for names, in the order of their first use; a number is never used for another
// name.

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace quern {

template <typename Index>
class NameTable {
 public:
  NameTable() = default;
  NameTable(NameTable&&) = default;  // moving keeps the names where they are
  NameTable& operator=(NameTable&&) = default;
  explicit NameTable(std::vector<std::string> stored) {
    for (std::string& name : stored) add(std::move(name));
    stored_ = names_.size();
  }

  [[nodiscard]] std::optional<Index> find(std::string_view name) const {
    const auto found = indexes_.find(name);
    if (found == indexes_.end()) return std::nullopt;
    return found->second;
  }
  Index add(std::string name) {
    const auto index = static_cast<Index>(names_.size());
    names_.push_back(std::move(name));
    indexes_.emplace(names_.back(), index);
    return index;
  }
  /// Empty for a number that has none, as in a store that lost names.
  [[nodiscard]] const std::string& name(Index index) const {
    static const std::string kNone;
    const auto at = static_cast<std::size_t>(index);
    return at < names_.size() ? names_[at] : kNone;
  }
  [[nodiscard]] std::size_t size() const { return names_.size(); }

  /// Names from here on are in memory only.
  [[nodiscard]] std::size_t stored() const { return stored_; }
  void set_stored(std::size_t count) { stored_ = count; }

 private:
  std::deque<std::string> names_;                        // stays in place when it grows
  std::unordered_map<std::string_view, Index> indexes_;  // over names_
  std::size_t stored_ = 0;
};

}  // namespace quern
