#pragma once
// A broken promise ends a history.

#include <stdexcept>
#include <string>

namespace quern::sim {

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void check(bool holds, const char* promise) {
  if (!holds) throw Failure(promise);
}

}  // namespace quern::sim
