#include "http/host.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <system_error>

namespace quern::http {
namespace {

constexpr auto kNameChars = [] {
  std::array<bool, 256> table{};
  for (std::size_t i = 0; i < table.size(); ++i) {
    const auto c = static_cast<char>(i);
    table[i] = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               c == '-' || c == '.' || c == '_' || c == '~';
  }
  return table;
}();

bool is_name_char(char c) { return kNameChars[static_cast<unsigned char>(c)]; }

bool is_ipv6(std::string_view text) {
  std::array<char, INET6_ADDRSTRLEN> terminated{};
  const bool has_its_chars =
      text.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos;
  if (!has_its_chars || text.size() >= terminated.size()) return false;
  text.copy(terminated.data(), text.size());
  in6_addr address{};
  return ::inet_pton(AF_INET6, terminated.data(), &address) == 1;
}

bool is_port(std::string_view text) {
  std::uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, port);
  return error == std::errc{} && stop == end;
}

/// The length of the host that `text` begins with; 0: none.
std::size_t measure_host(std::string_view text) {
  if (!text.starts_with('['))
    return static_cast<std::size_t>(std::ranges::find_if_not(text, is_name_char) - text.begin());
  const std::size_t end = text.find(']');
  return end != std::string_view::npos && is_ipv6(text.substr(1, end - 1)) ? end + 1 : 0;
}

}  // namespace

bool is_host_and_port(std::string_view text) {
  const std::size_t length = measure_host(text);
  const std::string_view rest = text.substr(length);
  if (length == 0 || rest.empty()) return length > 0;
  return rest.front() == ':' && (rest.size() == 1 || is_port(rest.substr(1)));
}

}  // namespace quern::http
