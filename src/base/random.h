#pragma once
// Chance, passed in: ids and secrets draw from the operating system, tests from a seed.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace quern {

/// Threads: any.
class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(std::span<std::byte> bytes) = 0;
  std::uint64_t next_u64();
};

/// The operating system's generator (getrandom), buffered per thread. Stops the process if there is
/// none: without it no id or secret would be unguessable.
class SystemRandom final : public Random {
 public:
  void fill(std::span<std::byte> bytes) override;
};

/// `bytes` random bytes as lower-case hex, twice as many characters.
std::string random_hex(Random& random, std::size_t bytes);

}  // namespace quern
