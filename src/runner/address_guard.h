#pragma once
// Which addresses a caller may make this server connect to: those of the public internet only.
//
// A URL in a task's input is fetched from inside the operator's network. Names cannot be judged
// (they may resolve to anything, and to something else a moment later), so the address itself is,
// at the moment its socket is made.

#include <sys/socket.h>

#include <array>
#include <cstdint>

namespace quern {

/// A rule for connections: true allows this address.
using AddressRule = bool (*)(const sockaddr& address);

/// False for everything that is not globally routed unicast: private, loopback, link-local (where
/// clouds keep their metadata), carrier-grade NAT, documentation, benchmarking, multicast,
/// reserved, unspecified, and IPv6 forms that carry such an IPv4 address (mapped, NAT64, 6to4). Any
/// family but IPv4 and IPv6 is refused.
[[nodiscard]] bool is_public_address(const sockaddr& address);

/// Allows every address of the IP families: for operators who trust their callers, and for tests.
[[nodiscard]] bool is_any_address(const sockaddr& address);

/// Bytes in network order, as they are written: {127, 0, 0, 1}.
[[nodiscard]] bool is_public_ipv4(const std::array<std::uint8_t, 4>& address);
[[nodiscard]] bool is_public_ipv6(const std::array<std::uint8_t, 16>& address);

}  // namespace quern
