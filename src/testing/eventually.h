#pragma once
// Waiting in a test for what gives no signal of its own, within bounds.

#include <poll.h>

#include <chrono>

namespace quern {

/// Asks until `condition` holds; false if it does not within `patience`.
template <typename Condition>
bool eventually(Condition&& condition, std::chrono::seconds patience = std::chrono::seconds(30)) {
  const auto give_up = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= give_up) return false;
    ::poll(nullptr, 0, 1);  // leaves the processor to those who are waited for
  }
  return true;
}

}  // namespace quern
