#pragma once
// The origin that URLs in answers begin with: configured, or as the caller sees this server.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/request_heads.h"
#include "base/result.h"
#include "http/message.h"

namespace quern::api {

/// A block of addresses; IPv4 as IPv4-mapped IPv6. "10.0.0.0/8", "::1".
struct AddressBlock {
  std::array<std::uint8_t, 16> address{};
  unsigned bits = 128;  // of `address` that count

  /// Errors: invalid_argument.
  static Result<AddressBlock> parse(std::string_view text);
  [[nodiscard]] bool contains(const std::array<std::uint8_t, 16>& other) const;
};

/// An http or https URL without query and fragment; the slash at its end is left out. "" stays "".
/// Errors: invalid_argument.
Result<std::string> parse_public_url(std::string_view text);

/// Immutable. Threads: any.
class BaseUrls {
 public:
  /// Errors: invalid_argument (not an http or https URL, not an address).
  static Result<BaseUrls> make(std::string_view public_url,
                               const std::vector<std::string>& trusted_proxies);

  /// As configured, without a slash at the end; empty: none is.
  [[nodiscard]] const std::string& public_url() const { return public_url_; }
  /// The Host header may be echoed, or is not needed.
  [[nodiscard]] bool can_answer(const RequestHeads& heads) const;
  /// Appends "https://host[:port][/prefix]", without a slash at the end. A request that names no host gets the address
  /// that it came to. X-Forwarded-* count only if the peer is a trusted proxy, and only where their values are well
  /// formed.
  void append_to(std::string& out, const http::Request& request, const RequestHeads& heads) const;

 private:
  [[nodiscard]] bool is_trusted(std::string_view peer_ip) const;

  std::string public_url_;
  std::vector<AddressBlock> trusted_;
};

/// http::is_host_and_port, and no longer than a name can be.
bool is_plain_host(std::string_view host);

}  // namespace quern::api
