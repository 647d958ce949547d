#include "api/origin.h"

#include <algorithm>

#include "base/ascii.h"
#include "http/host.h"

namespace quern::api {
namespace {

bool is_upper(char c) { return to_lower(c) != c; }

bool is_scheme(std::string_view text) {
  return !text.empty() && text[0] >= 'a' && text[0] <= 'z' &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789+-.") == text.npos;
}

bool is_port(std::string_view text, std::string_view scheme) {
  return !text.empty() && !text.starts_with('0') && !http::is_default_port(scheme, text);
}

}  // namespace

bool is_origin(std::string_view text) {
  const std::size_t scheme_end = text.find("://");
  if (scheme_end == text.npos) return false;
  const std::string_view scheme = text.substr(0, scheme_end);
  const std::string_view host = text.substr(scheme_end + 3);
  if (!is_scheme(scheme) || !http::is_host_and_port(host)) return false;
  if (std::ranges::any_of(host, is_upper) || host.find('~') != host.npos) return false;
  // An address in brackets has colons of its own.
  const std::size_t colon = host.find(':', host.starts_with('[') ? host.find(']') : 0);
  return colon == host.npos || is_port(host.substr(colon + 1), scheme);
}

}  // namespace quern::api
