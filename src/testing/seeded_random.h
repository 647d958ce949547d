#pragma once
// Chance from a seed, for tests: the same seed, the same bytes.

#include <random>

#include "base/random.h"

namespace quern {

/// Threads: one at a time.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : engine_(seed) {}
  void fill(std::span<std::byte> bytes) override {
    for (std::byte& b : bytes) b = static_cast<std::byte>(engine_() & 0xffU);
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace quern
