#pragma once
// Fetches one http or https URL that a caller named into a file, trusting neither the URL nor what
// answers.

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/result.h"
#include "runner/address_guard.h"

namespace quern {

struct UrlFetchOptions {
  std::uint64_t bytes_max = 64ULL << 20U;
  std::chrono::milliseconds timeout{30'000};       // the whole fetch, redirects included
  std::chrono::milliseconds idle_timeout{10'000};  // without a single byte
  std::uint32_t redirects_max = 5;
  std::size_t url_bytes_max = 8192;
  AddressRule address_rule =
      &is_public_address;  // asked for every connection, after each redirect too
};

/// True if `text` begins with http:// or https:// (any case).
[[nodiscard]] bool is_http_url(std::string_view text);

/// Streams the answer's body into `fd` and returns its length in bytes. No cookies, credentials or
/// proxies; a URL with a user name is refused. The body of an answer that is not 2xx is never kept,
/// nor told in an error.
///
/// Blocks, until the timeout at most; returns promptly once `stop` is asked for (as `unavailable`,
/// "stopped"). Threads: any. Errors: invalid_argument (the URL, a forbidden address, a 4xx answer,
/// too many redirects, a bad certificate), too_large, unavailable (no connection, timeout, 408, 429
/// and 5xx answers, disk full). Messages go after "could not fetch: " and are for the caller.
Result<std::uint64_t> fetch_url(const std::string& url, int fd, const UrlFetchOptions& options,
                                std::stop_token stop);

}  // namespace quern
