#pragma once
// Which aliases each model has had. A task's URLs name the alias that it was created under, and stay
// good when the configuration gives its model other ones, or takes the model away.

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_set>

#include "catalog/catalog.h"

namespace quern {

/// The oldest go first.
inline constexpr std::size_t kEndpointHistoryMax = 10'000;

/// Threads: one at a time; any once it no longer changes.
class EndpointHistory {
 public:
  /// What to_text() gave. Lines that are no model id and alias are passed over.
  static EndpointHistory parse(std::string_view text);
  /// A line for each alias, the oldest first: "<model id> <alias>".
  [[nodiscard]] std::string to_text() const;

  /// Takes in the aliases of the catalog's models. False: all were known.
  bool add(const Catalog& catalog);
  /// `endpoint` is an alias that the model has had, or the `owner/app` of one.
  [[nodiscard]] bool has(std::string_view model, std::string_view endpoint) const;

 private:
  bool add(std::string_view model, std::string_view alias);
  void forget_oldest();

  std::deque<std::string> lines_;
  std::unordered_set<std::string> known_;        // the same lines
  std::unordered_multiset<std::string> shorts_;  // and each one's with the `owner/app` alone
};

}  // namespace quern
