#include "api/base_url.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/ascii.h"
#include "http/host.h"

namespace quern::api {
namespace {

constexpr std::size_t kHostBytesMax = 255;
constexpr std::string_view kFallbackHost = "localhost";

constexpr bool is_alnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::optional<std::array<std::uint8_t, 16>> parse_address(std::string_view text) {
  const std::string terminated(text);
  std::array<std::uint8_t, 16> address{};
  if (::inet_pton(AF_INET6, terminated.c_str(), address.data()) == 1) return address;
  in_addr v4{};
  if (::inet_pton(AF_INET, terminated.c_str(), &v4) != 1) return std::nullopt;
  address[10] = address[11] = 0xff;
  std::memcpy(&address[12], &v4, 4);
  return address;
}

// Of a list that proxies extended, the first entry is the caller's side.
std::string_view first_of_list(std::string_view value) {
  value = value.substr(0, value.find(','));
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  return value;
}

bool is_port(std::string_view text) {
  unsigned port = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), port);
  return ec == std::errc{} && end == text.data() + text.size() && port >= 1 && port <= 65535;
}

bool has_port(std::string_view host) {
  const std::size_t colon = host.rfind(':');
  return colon != std::string_view::npos && host.find(']', colon) == std::string_view::npos;
}

std::string_view without_port(std::string_view host) {
  return has_port(host) ? host.substr(0, host.rfind(':')) : host;
}

bool is_plain_prefix(std::string_view path) {
  return path.starts_with('/') && path.size() <= kHostBytesMax &&
         std::ranges::all_of(path, [](char c) {
           return is_alnum(c) || c == '/' || c == '-' || c == '_' || c == '.' || c == '~';
         });
}

std::string_view without_slash(std::string_view text) {
  while (text.ends_with('/')) text.remove_suffix(1);
  return text;
}

}  // namespace

bool is_plain_host(std::string_view host) {
  return host.size() <= kHostBytesMax && http::is_host_and_port(host);
}

Result<AddressBlock> AddressBlock::parse(std::string_view text) {
  const auto bad = [&] {
    return fail(
        ErrorCode::invalid_argument,
        "expected an address or a block such as 10.0.0.0/8, got \"" + std::string(text) + "\"");
  };
  const std::size_t slash = text.find('/');
  const std::string_view host = text.substr(0, slash);
  const auto address = parse_address(host);
  if (!address) return bad();
  const bool v4 = host.find(':') == std::string_view::npos;
  unsigned bits = v4 ? 32 : 128;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    unsigned given = 0;
    const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), given);
    if (ec != std::errc{} || end != digits.data() + digits.size() || given > bits) return bad();
    bits = given;
  }
  return AddressBlock{*address, v4 ? bits + 96 : bits};
}

bool AddressBlock::contains(const std::array<std::uint8_t, 16>& other) const {
  const unsigned whole = bits / 8;
  if (!std::equal(address.begin(), address.begin() + whole, other.begin())) return false;
  if (bits % 8 == 0) return true;
  const auto mask = static_cast<std::uint8_t>(0xff00U >> (bits % 8));
  return (address[whole] & mask) == (other[whole] & mask);
}

Result<std::string> parse_public_url(std::string_view text) {
  if (text.empty()) return std::string();
  const std::size_t scheme = text.starts_with("https://") ? 8 : text.starts_with("http://") ? 7 : 0;
  const std::string_view rest = without_slash(text.substr(scheme));
  const std::string_view host = rest.substr(0, rest.find('/'));
  const std::string_view prefix = rest.substr(host.size());
  if (scheme == 0 || !is_plain_host(host) || (!prefix.empty() && !is_plain_prefix(prefix)))
    return fail(ErrorCode::invalid_argument,
                "expected http(s)://host[:port][/path], got \"" + std::string(text) + "\"");
  return std::string(without_slash(text));
}

Result<BaseUrls> BaseUrls::make(std::string_view public_url,
                                const std::vector<std::string>& trusted_proxies) {
  BaseUrls urls;
  auto parsed = parse_public_url(public_url);
  if (!parsed) return fail(ErrorCode::invalid_argument, "public_url: " + parsed.error().message);
  urls.public_url_ = std::move(*parsed);
  for (const std::string& text : trusted_proxies) {
    auto block = AddressBlock::parse(text);
    if (!block)
      return fail(ErrorCode::invalid_argument, "trusted_proxies: " + block.error().message);
    urls.trusted_.push_back(*block);
  }
  return urls;
}

bool BaseUrls::is_trusted(std::string_view peer_ip) const {
  if (trusted_.empty()) return false;
  const auto address = parse_address(peer_ip);
  return address && std::ranges::any_of(trusted_, [&](const AddressBlock& block) {
           return block.contains(*address);
         });
}

bool BaseUrls::can_answer(const RequestHeads& heads) const {
  return !public_url_.empty() || heads.host.empty() || is_plain_host(heads.host);
}

void BaseUrls::append_to(std::string& out, const http::Request& request,
                         const RequestHeads& heads) const {
  if (!public_url_.empty()) {
    out += public_url_;
    return;
  }
  std::string_view scheme = request.tls ? "https" : "http";
  std::string_view host = heads.host;
  if (host.empty()) host = request.local.empty() ? kFallbackHost : request.local;
  std::string_view port;
  std::string_view prefix;
  if (is_trusted(request.peer_ip)) {
    const std::string_view proto = first_of_list(heads.forwarded_proto);
    if (equals_ignoring_case(proto, "http")) scheme = "http";
    if (equals_ignoring_case(proto, "https")) scheme = "https";
    const std::string_view name = first_of_list(heads.forwarded_host);
    const std::string_view given_port = first_of_list(heads.forwarded_port);
    if (is_plain_host(name)) {
      host = name;
    } else if (is_port(given_port)) {
      host = without_port(host);  // a port there may be that of the proxy's way to here
    }
    if (is_port(given_port) && !has_port(host)) port = given_port;
    if (const auto path = first_of_list(heads.forwarded_prefix); is_plain_prefix(path))
      prefix = without_slash(path);
  }
  out += scheme;
  out += "://";
  out += host;
  if (!port.empty() && !http::is_default_port(scheme, port)) {
    out += ':';
    out += port;
  }
  out += prefix;
}

}  // namespace quern::api
