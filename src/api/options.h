#pragma once
// What an operator may set about the HTTP side, and what the API stands on.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/random.h"

namespace quern {
class ArtifactStore;
class Queue;
class RateLimiter;
}  // namespace quern

namespace quern::api {

struct Options {
  std::string public_url;  // "https://quern.example[/prefix]"; empty: from the Host header
  std::vector<std::string> cors_origins;     // "https://app.example"; "*" for any
  std::vector<std::string> trusted_proxies;  // addresses and CIDR blocks whose X-Forwarded-* count
  std::uint64_t body_bytes_max = 10ULL << 20U;           // of a create
  std::uint64_t upload_bytes_max = 1ULL << 30U;          // of one uploaded file
  std::chrono::milliseconds upload_link_ttl{3'600'000};  // how long an upload URL takes a PUT
  /// Signs upload URLs. Empty: a fresh one, so that a restart ends the links that were handed out.
  std::string upload_secret;
  std::chrono::milliseconds wait_max{60'000};          // of ?wait=
  std::chrono::milliseconds stream_interval_min{100};  // between two events of one stream
  /// Below 10 s, the read timeout of OkHttp and so of fal's Java and Kotlin clients.
  std::chrono::milliseconds stream_comment_every{5'000};
  std::uint32_t waits_max = 20'000;          // held answers and event streams at once
  unsigned blocking_threads = 4;             // for reading and writing files, and for large bodies
  std::size_t blocking_pending_max = 4'096;  // requests waiting for them; one more is 503
};

/// All outlive the Api.
struct Deps {
  Queue& queue;
  ArtifactStore& artifacts;
  RateLimiter& limiter;
  const Clock& clock;
  Random& random;
  Metrics& metrics;
};

}  // namespace quern::api
