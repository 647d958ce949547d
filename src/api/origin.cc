#include "api/origin.h"

#include <algorithm>
#include <charconv>

namespace quern::api {
namespace {

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_scheme(std::string_view text) {
  return !text.empty() && is_lower(text[0]) && std::ranges::all_of(text, [](char c) {
    return is_lower(c) || is_digit(c) || c == '+' || c == '-' || c == '.';
  });
}

bool is_host(std::string_view text) {
  if (text.starts_with('[') && text.ends_with(']')) {
    text = text.substr(1, text.size() - 2);
    return text.find(':') != text.npos && std::ranges::all_of(text, [](char c) {
             return is_digit(c) || (c >= 'a' && c <= 'f') || c == ':' || c == '.';
           });
  }
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return is_lower(c) || is_digit(c) || c == '-' || c == '.' || c == '_';
  });
}

bool is_port(std::string_view text, std::string_view scheme) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) return false;
  if (text.starts_with('0') || port > 65'535) return false;
  return !(scheme == "http" && port == 80) && !(scheme == "https" && port == 443);
}

}  // namespace

bool is_origin(std::string_view text) {
  const std::size_t scheme_end = text.find("://");
  if (scheme_end == text.npos) return false;
  const std::string_view scheme = text.substr(0, scheme_end);
  const std::string_view rest = text.substr(scheme_end + 3);
  // An address in brackets has colons of its own.
  const std::size_t colon = rest.find(':', rest.starts_with('[') ? rest.find(']') : 0);
  const bool has_port = colon != rest.npos;
  return is_scheme(scheme) && is_host(rest.substr(0, colon)) &&
         (!has_port || is_port(rest.substr(colon + 1), scheme));
}

}  // namespace quern::api
