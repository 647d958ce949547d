#include "client/server_url.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

#include "base/ascii.h"

namespace quern::client {
namespace {

bool is_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port != 0;
}

// "host", "host:port", "[::1]:port"; a user may stand before it, as curl takes one.
bool is_authority(std::string_view text) {
  text.remove_prefix(text.rfind('@') + 1);
  const std::size_t host_end =
      text.starts_with('[') ? text.find(']') : std::min(text.find(':'), text.size()) - 1;
  if (host_end >= text.size()) return false;  // no host, or a bracket that is not closed
  const std::string_view rest = text.substr(host_end + 1);
  return rest.empty() || (rest.front() == ':' && is_port(rest.substr(1)));
}

// The scheme's name and "://" are taken off; false: it is of another protocol.
bool take_scheme(std::string_view& url) {
  const std::size_t end = url.find("://");
  if (end == std::string_view::npos) return true;
  const std::string_view scheme = url.substr(0, end);
  url.remove_prefix(end + 3);
  return equals_ignoring_case(scheme, "http") || equals_ignoring_case(scheme, "https");
}

}  // namespace

bool is_server_url(std::string_view url) {
  const auto is_foreign = [](char c) {
    return (c >= 0 && c <= ' ') || c == '\x7f' || c == '?' || c == '#';
  };
  if (std::ranges::any_of(url, is_foreign) || !take_scheme(url)) return false;
  return is_authority(url.substr(0, url.find('/')));
}

}  // namespace quern::client
