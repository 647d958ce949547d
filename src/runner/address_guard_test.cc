#include "runner/address_guard.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <string>

namespace quern {
namespace {

bool is_public(const std::string& text) {
  sockaddr_in v4{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {}, .sin_zero = {}};
  if (::inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    return is_public_address(reinterpret_cast<const sockaddr&>(v4));
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  EXPECT_EQ(::inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr), 1) << text;
  return is_public_address(reinterpret_cast<const sockaddr&>(v6));
}

TEST(AddressGuard, AllowsThePublicInternet) {
  for (const char* address :
       {"1.1.1.1",           "8.8.8.8",         "9.255.255.255",        "11.0.0.0",
        "100.63.255.255",    "100.128.0.0",     "126.255.255.255",      "128.0.0.1",
        "151.101.1.140",     "168.63.129.15",   "168.63.129.17",        "169.253.255.255",
        "169.255.0.0",       "172.15.255.255",  "172.32.0.0",           "192.0.1.0",
        "192.0.3.0",         "192.167.255.255", "192.169.0.0",          "198.17.255.255",
        "198.20.0.0",        "198.51.99.255",   "198.51.101.0",         "203.0.112.255",
        "203.0.114.0",       "223.255.255.255", "2001:4860:4860::8888", "2606:4700:4700::1111",
        "2a00:1450:4001::1", "2001:200::1",     "2001:db7:ffff::1",     "2001:db9::1",
        "3fff:1000::1",      "2003::1",         "64:ff9b::8.8.8.8",     "2002:0808:0808::1"}) {
    EXPECT_TRUE(is_public(address)) << address;
  }
}

TEST(AddressGuard, RefusesEveryIpv4BlockFromItsFirstToItsLastAddress) {
  for (const char* address :
       {"0.0.0.0",         "0.255.255.255",   "10.0.0.0",        "10.255.255.255",
        "100.64.0.0",      "100.127.255.255", "100.100.100.200", "127.0.0.0",
        "127.0.0.1",       "127.255.255.255", "168.63.129.16",   "169.254.0.0",
        "169.254.169.254", "169.254.255.255", "172.16.0.0",      "172.31.255.255",
        "192.0.0.0",       "192.0.0.255",     "192.0.2.0",       "192.0.2.255",
        "192.31.196.1",    "192.52.193.1",    "192.88.99.1",     "192.168.0.0",
        "192.168.255.255", "192.175.48.1",    "198.18.0.0",      "198.19.255.255",
        "198.51.100.0",    "198.51.100.255",  "203.0.113.0",     "203.0.113.255",
        "224.0.0.0",       "239.255.255.255", "240.0.0.0",       "255.255.255.255"}) {
    EXPECT_FALSE(is_public(address)) << address;
  }
}

TEST(AddressGuard, RefusesEveryIpv6BlockThatIsNotGlobal) {
  for (const char* address : {"::",
                              "::1",
                              "100::1",
                              "64:ff9b:1::1",
                              "fc00::1",
                              "fd00:ec2::254",
                              "fdff::1",
                              "fe80::1",
                              "febf::1",
                              "fec0::1",
                              "ff02::1",
                              "ff0e::1",
                              "2001::1",
                              "2001:0:4136:e378::1",
                              "2001:10::1",
                              "2001:20::1",
                              "2001:1ff:ffff::1",
                              "2001:db8::1",
                              "2001:db8:ffff::1",
                              "2620:4f:8000::1",
                              "3fff::1",
                              "3fff:fff::1",
                              "5f00::1",
                              "4000::1",
                              "1fff::1",
                              "::ffff:0:127.0.0.1"}) {
    EXPECT_FALSE(is_public(address)) << address;
  }
}

TEST(AddressGuard, LooksIntoIpv6AddressesThatCarryIpv4) {
  for (const char* address :
       {"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0",
        "::127.0.0.1", "::10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::10.1.2.3",
        "64:ff9b::169.254.169.254", "64:ff9b::192.168.1.1", "2002:7f00:1::", "2002:0a00:0001::1",
        "2002:a9fe:a9fe::1", "2002:c0a8:0101::", "2002:e000:1::"}) {
    EXPECT_FALSE(is_public(address)) << address;
  }
}

TEST(AddressGuard, RefusesOtherFamilies) {
  sockaddr_un local{.sun_family = AF_UNIX, .sun_path = {}};
  EXPECT_FALSE(is_public_address(reinterpret_cast<const sockaddr&>(local)));
  EXPECT_FALSE(is_any_address(reinterpret_cast<const sockaddr&>(local)));
}

TEST(AddressGuard, AllowsPrivateAddressesWhereTheOperatorDoes) {
  sockaddr_in loopback{};
  loopback.sin_family = AF_INET;
  loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_TRUE(is_any_address(reinterpret_cast<const sockaddr&>(loopback)));
}

}  // namespace
}  // namespace quern
