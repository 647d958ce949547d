#pragma once
// Who a request is for, as `Host` and URLs name it.

#include <string_view>

namespace quern::http {

/// uri-host [":" port] of RFC 9110 §7.2, strictly: a name of letters, digits and "-._~" or an IPv6 address
/// in brackets, and a port up to 65535, which may be empty. Nothing in it can change the meaning of a
/// URL that is built with it, or has to be escaped in a header or in JSON.
bool is_host_and_port(std::string_view text);

/// What `scheme` stands for anyway, so that browsers leave it out.
constexpr bool is_default_port(std::string_view scheme, std::string_view port) {
  return (scheme == "http" && port == "80") || (scheme == "https" && port == "443");
}

}  // namespace quern::http
