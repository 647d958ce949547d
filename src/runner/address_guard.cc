#include "runner/address_guard.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <span>

namespace quern {

namespace {

using Ipv4 = std::array<std::uint8_t, 4>;
using Ipv6 = std::array<std::uint8_t, 16>;

/// A block of addresses: those whose first `bits` bits are those of `start`.
template <typename Address>
struct Block {
  Address start;
  unsigned bits;

  [[nodiscard]] constexpr bool has(const Address& address) const {
    unsigned left = bits;
    for (std::size_t i = 0; left > 0; ++i) {
      const unsigned here = std::min(left, 8U);
      const auto mask = static_cast<std::uint8_t>(0xffU << (8U - here));
      if (((address[i] ^ start[i]) & mask) != 0) return false;
      left -= here;
    }
    return true;
  }
};

// The special-purpose address registries of IANA (RFC 6890 and what came after).
constexpr auto kForbiddenIpv4 = std::to_array<Block<Ipv4>>({
    {{0, 0, 0, 0}, 8},         // this network; 0.0.0.0 connects to this machine
    {{10, 0, 0, 0}, 8},        // private
    {{100, 64, 0, 0}, 10},     // carrier-grade NAT; clouds use it too
    {{127, 0, 0, 0}, 8},       // loopback
    {{168, 63, 129, 16}, 32},  // public by number, but Azure's own host agent
    {{169, 254, 0, 0}, 16},    // link-local: metadata services
    {{172, 16, 0, 0}, 12},     // private
    {{192, 0, 0, 0}, 24},      // protocol assignments
    {{192, 0, 2, 0}, 24},      // documentation
    {{192, 31, 196, 0}, 24},   // AS112
    {{192, 52, 193, 0}, 24},   // AMT
    {{192, 88, 99, 0}, 24},    // 6to4 relays
    {{192, 168, 0, 0}, 16},    // private
    {{192, 175, 48, 0}, 24},   // AS112
    {{198, 18, 0, 0}, 15},     // benchmarking
    {{198, 51, 100, 0}, 24},   // documentation
    {{203, 0, 113, 0}, 24},    // documentation
    {{224, 0, 0, 0}, 4},       // multicast
    {{240, 0, 0, 0}, 4},       // reserved; broadcast
});

// Everything outside of 2000::/3 is forbidden to begin with, but for NAT64.
constexpr Block<Ipv6> kGlobalUnicast = {{0x20}, 3};
constexpr auto kForbiddenIpv6 = std::to_array<Block<Ipv6>>({
    {{0x20, 0x01}, 23},                          // protocol assignments: Teredo, ORCHID
    {{0x20, 0x01, 0x0d, 0xb8}, 32},              // documentation
    {{0x26, 0x20, 0x00, 0x4f, 0x80, 0x00}, 48},  // AS112
    {{0x3f, 0xff}, 20},                          // documentation
});

/// IPv6 blocks whose addresses carry an IPv4 address that traffic may end up at.
struct Carrier {
  Block<Ipv6> block;
  std::size_t offset;  // of the four bytes
};
constexpr auto kCarriers = std::to_array<Carrier>({
    {{{0x00, 0x64, 0xff, 0x9b}, 96}, 12},  // NAT64, 64:ff9b::/96
    {{{0x20, 0x02}, 16}, 2},               // 6to4
});

}  // namespace

bool is_public_ipv4(const Ipv4& address) {
  return std::ranges::none_of(kForbiddenIpv4,
                              [&](const auto& block) { return block.has(address); });
}

bool is_public_ipv6(const Ipv6& address) {
  for (const Carrier& carrier : kCarriers) {
    if (!carrier.block.has(address)) continue;
    Ipv4 carried{};
    std::copy_n(address.begin() + static_cast<std::ptrdiff_t>(carrier.offset), carried.size(),
                carried.begin());
    return is_public_ipv4(carried);
  }
  return kGlobalUnicast.has(address) &&
         std::ranges::none_of(kForbiddenIpv6,
                              [&](const auto& block) { return block.has(address); });
}

bool is_public_address(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    Ipv4 bytes{};
    std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in&>(address).sin_addr,
                bytes.size());
    return is_public_ipv4(bytes);
  }
  if (address.sa_family == AF_INET6) {
    Ipv6 bytes{};
    std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr,
                bytes.size());
    return is_public_ipv6(bytes);
  }
  return false;
}

bool is_any_address(const sockaddr& address) {
  return address.sa_family == AF_INET || address.sa_family == AF_INET6;
}

}  // namespace quern
