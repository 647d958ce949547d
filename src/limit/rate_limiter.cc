#include "limit/rate_limiter.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <mutex>
#include <unordered_map>

#include "base/assert.h"

namespace quern {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr std::size_t kShards = 64;             // a power of two; many more than threads
constexpr double kAlmostOne = 1 - 1e-9;         // forgives the rounding of a refill
constexpr double kWaitMsMax = 24 * 3600 * 1e3;  // longer is of no use to a caller

struct Bucket {
  double tokens;
  SteadyTime filled;  // when there were so many
};

struct Hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>{}(text);
  }
};

// On a cache line of its own, so that the locks of two shards do not fight for one.
struct alignas(64) Shard {
  std::mutex mutex;  // guards buckets
  std::unordered_map<std::string, Bucket, Hash, std::equal_to<>> buckets;
};

double tokens_at(const Bucket& bucket, const RateLimit& limit, SteadyTime now) {
  // Callers read the clock before they have the lock, so `now` may be a little behind.
  const double elapsed = std::max(0.0, Seconds(now - bucket.filled).count());
  return std::min(limit.burst, bucket.tokens + elapsed * limit.rate);
}

// The least whole milliseconds after which there is a token.
std::chrono::milliseconds wait_for_token(double tokens, const RateLimit& limit) {
  const double ms = std::ceil((kAlmostOne - tokens) / limit.rate * 1e3);
  return std::chrono::milliseconds(static_cast<std::int64_t>(std::clamp(ms, 1.0, kWaitMsMax)));
}

}  // namespace

struct RateLimiter::Shards {
  std::array<Shard, kShards> all;
};

RateLimiter::RateLimiter() : shards_(std::make_unique<Shards>()) {}
RateLimiter::~RateLimiter() = default;

std::optional<std::chrono::milliseconds> RateLimiter::take(std::string_view key,
                                                           const RateLimit& limit, SteadyTime now) {
  QUERN_ASSERT(limit.rate > 0 && limit.burst >= 1);
  // The high bits: the map takes the low ones.
  Shard& shard = shards_->all[(Hash{}(key) >> 32U) % kShards];
  const std::scoped_lock lock(shard.mutex);
  auto found = shard.buckets.find(key);
  if (found == shard.buckets.end()) {
    found = shard.buckets.emplace(key, Bucket{.tokens = limit.burst, .filled = now}).first;
  }
  Bucket& bucket = found->second;
  const double tokens = tokens_at(bucket, limit, now);
  if (tokens < kAlmostOne)
    return wait_for_token(tokens, limit);  // nothing is written: no rounding adds up
  bucket = {.tokens = std::max(0.0, tokens - 1), .filled = std::max(bucket.filled, now)};
  return std::nullopt;
}

}  // namespace quern
