#pragma once
// The address of a server as a person gives it.

#include <string_view>

namespace quern::client {

/// "host:port", with http:// or https:// before it or not, with a path behind it or not. Without this check,
/// curl would find a host in "http:///v1/models": the first word of the path.
bool is_server_url(std::string_view url);

}  // namespace quern::client
