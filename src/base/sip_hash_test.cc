#include "base/sip_hash.h"

#include <gtest/gtest.h>

#include <vector>

namespace quern {
namespace {

TEST(SipHash, AgreesWithThePublishedVectors) {
  // Key 00..0f, message 00..: the values of appendix A of the paper and of the reference code.
  const std::array<std::uint64_t, 2> key{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  std::vector<std::uint8_t> message(15);
  for (std::size_t i = 0; i < message.size(); ++i) message[i] = static_cast<std::uint8_t>(i);

  EXPECT_EQ(sip_hash(key, message), 0xa129ca6149be45e5U);
  EXPECT_EQ(sip_hash(key, {}), 0x726fdb47dd0e0e31U);
}

}  // namespace
}  // namespace quern
