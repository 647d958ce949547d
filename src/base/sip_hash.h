#pragma once
// SipHash-2-4 (Aumasson, Bernstein 2012): a hash that nobody without its key can steer.

#include <array>
#include <cstdint>
#include <span>

namespace quern {

std::uint64_t sip_hash(const std::array<std::uint64_t, 2>& key,
                       std::span<const std::uint8_t> bytes);

}  // namespace quern
