#pragma once
// Token buckets, one a key.

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace quern {

struct RateLimit {
  double rate = 200;   // tokens per second, > 0
  double burst = 400;  // tokens, >= 1
};

/// A bucket is full when it is first used and forgotten never (there are as many as configured
/// keys). Threads: any. Cost: one hash look-up under a shard's lock, no allocation after a key's
/// first use.
class RateLimiter {
 public:
  RateLimiter();
  ~RateLimiter();
  /// Takes one token of `key`'s bucket, or says how long until there is one.
  std::optional<std::chrono::milliseconds> take(std::string_view key, const RateLimit& limit,
                                                SteadyTime now);

 private:
  struct Shards;
  std::unique_ptr<Shards> shards_;
};

}  // namespace quern
