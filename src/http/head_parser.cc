#include "http/head_parser.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/ascii.h"
#include "base/char_run.h"
#include "http/host.h"

namespace quern::http {
namespace {

constexpr Fault kBadRequestLine{400, "Malformed request line"};
constexpr Fault kBadLineEnding{400, "Malformed line ending"};
constexpr Fault kBadHeader{400, "Malformed header"};
constexpr Fault kBadTarget{400, "Invalid request target"};
constexpr Fault kBadHost{400, "Missing, repeated or invalid Host header"};
constexpr Fault kBadLength{400, "Invalid or ambiguous Content-Length"};
constexpr Fault kBadCoding{400, "Invalid or ambiguous Transfer-Encoding"};
constexpr Fault kUnknownCoding{501, "Transfer coding not supported"};
constexpr Fault kUnknownExpectation{417, "Expectation not supported"};
constexpr Fault kTargetTooLong{414, "Request target too long"};
constexpr Fault kHeadTooLarge{431, "Request head too large"};
constexpr Fault kTooManyHeaders{431, "Too many headers"};
constexpr Fault kBadVersion{505, "HTTP version not supported"};

// ---- characters (RFC 9110 §5.5 and §5.6.2, RFC 3986) -------------------------------------------

constexpr bool is_decimal(char c) { return c >= '0' && c <= '9'; }

/// Of a method or a field's name.
constexpr auto kTokenChars = [] {
  std::array<bool, 256> table{};
  for (unsigned i = 0; i < table.size(); ++i) {
    const auto c = static_cast<char>(i);
    const bool is_alnum = is_decimal(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    table[i] = is_alnum || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  }
  return table;
}();

constexpr bool is_token_char(char c) { return kTokenChars[static_cast<unsigned char>(c)]; }

/// Visible ASCII but '#'.
constexpr bool is_target_char(char c) { return c > 0x20 && c < 0x7f && c != '#'; }

/// Visible, space, tab, and bytes above 127.
constexpr bool is_value_char(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= 0x20 && byte != 0x7f) || c == '\t';
}

std::string_view take_first(std::string_view& rest, std::size_t length) {
  const std::string_view first = rest.substr(0, length);
  rest.remove_prefix(length);
  return first;
}

/// Takes the longest run of such characters off the front of `rest`.
template <bool (*is)(char)>
std::string_view take_run(std::string_view& rest) {
  return take_first(rest, count_leading<is>(rest));
}

/// One by one: a name is shorter than what is worth a block of count_leading.
std::string_view take_token(std::string_view& rest) {
  std::size_t length = 0;
  while (length < rest.size() && is_token_char(rest[length])) ++length;
  return take_first(rest, length);
}

/// Always inline: where the literal's length is known, comparing it takes no call.
[[gnu::always_inline]] inline bool take(std::string_view& rest, std::string_view literal) {
  if (!rest.starts_with(literal)) return false;
  rest.remove_prefix(literal.size());
  return true;
}

bool is_blank(char c) { return c == ' ' || c == '\t'; }

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

Method method_of(std::string_view name) {
  constexpr std::pair<std::string_view, Method> kMethods[] = {
      {"GET", Method::get},     {"POST", Method::post},      {"PUT", Method::put},
      {"HEAD", Method::head},   {"DELETE", Method::delete_}, {"OPTIONS", Method::options},
      {"PATCH", Method::patch},
  };
  for (const auto& [known, method] : kMethods) {
    if (name == known) return method;
  }
  return Method::other;
}

// ---- the request line and the fields -----------------------------------------------------------

/// What the fields say of the message beside what RequestHead keeps.
struct Framing {
  std::size_t hosts = 0;
  std::size_t host_index = 0;
  bool has_length = false;
  bool has_coding = false;
  bool wants_close = false;
  bool wants_keep_alive = false;
};

std::optional<Fault> take_request_line(std::string_view& rest, RequestHead& head) {
  Request& request = head.request;
  request.method_name = take_token(rest);
  request.method = method_of(request.method_name);
  if (request.method_name.empty() || !take(rest, " ")) return kBadRequestLine;
  request.target = take_run<is_target_char>(rest);
  if (!take(rest, " ")) return rest.starts_with('\r') ? kBadRequestLine : kBadTarget;
  if (request.target.empty()) return kBadTarget;

  const bool is_version = take(rest, "HTTP/") && rest.size() >= 5 && is_decimal(rest[0]) &&
                          rest[1] == '.' && is_decimal(rest[2]) && rest.substr(3, 2) == "\r\n";
  if (!is_version) return kBadRequestLine;
  if (rest[0] != '1' || rest[2] > '1') return kBadVersion;
  head.http11 = rest[2] == '1';
  rest.remove_prefix(5);
  return std::nullopt;
}

/// It may be empty: that is how a client says that its target names no host (RFC 9110 §7.2).
std::optional<Fault> note_host(std::string_view value, std::size_t index, Framing& framing) {
  framing.host_index = index;
  if (++framing.hosts > 1 || !(value.empty() || is_host_and_port(value))) return kBadHost;
  return std::nullopt;
}

/// A repeated length and a list such as "5, 5" are ambiguous, and so is a length beside a coding.
std::optional<Fault> note_length(std::string_view value, Framing& framing, Request& request) {
  if (std::exchange(framing.has_length, true) || framing.has_coding) return kBadLength;
  std::uint64_t length = 0;
  const char* const end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, length);
  if (error != std::errc{} || stop != end) return kBadLength;
  request.content_length = length;
  return std::nullopt;
}

std::optional<Fault> note_coding(std::string_view value, Framing& framing, RequestHead& head) {
  if (std::exchange(framing.has_coding, true) || framing.has_length || !head.http11) {
    return kBadCoding;
  }
  if (!equals_ignoring_case(value, "chunked")) return kUnknownCoding;
  head.chunked = true;
  return std::nullopt;
}

std::optional<Fault> note_connection(std::string_view list, Framing& framing) {
  while (!list.empty()) {
    const std::string_view element = list.substr(0, list.find(','));
    list.remove_prefix(std::min(element.size() + 1, list.size()));
    const std::string_view option = trim(element);
    if (!std::ranges::all_of(option, is_token_char)) return kBadHeader;
    framing.wants_close = framing.wants_close || equals_ignoring_case(option, "close");
    framing.wants_keep_alive =
        framing.wants_keep_alive || equals_ignoring_case(option, "keep-alive");
  }
  return std::nullopt;
}

/// Takes note of the fields that this module itself goes by.
std::optional<Fault> note_field(const Header& field, Framing& framing, RequestHead& head) {
  const auto& [name, value] = field;
  if (equals_ignoring_case(name, "host")) return note_host(value, head.headers.size(), framing);
  if (equals_ignoring_case(name, "content-length"))
    return note_length(value, framing, head.request);
  if (equals_ignoring_case(name, "transfer-encoding")) return note_coding(value, framing, head);
  if (equals_ignoring_case(name, "connection")) return note_connection(value, framing);
  if (equals_ignoring_case(name, "expect") && head.http11) {
    if (!equals_ignoring_case(value, "100-continue")) return kUnknownExpectation;
    head.expects_continue = true;
  }
  return std::nullopt;
}

/// False if it is malformed. A line that goes on with the one before it begins with a blank, which is
/// no name. Always inline: every good head goes through here, a field at a time.
[[gnu::always_inline]] inline bool take_field(std::string_view& rest, Header& field) {
  field.name = take_token(rest);
  if (field.name.empty() || !take(rest, ":")) return false;
  field.value = trim(take_run<is_value_char>(rest));
  return take(rest, "\r\n");
}

std::optional<Fault> take_fields(std::string_view& rest, Framing& framing, RequestHead& head) {
  while (!take(rest, "\r\n")) {
    Header field;
    if (!take_field(rest, field)) return kBadHeader;
    if (head.headers.size() == kHeadersMax) return kTooManyHeaders;
    if (const auto fault = note_field(field, framing, head)) return fault;
    head.headers.push_back(field);
  }
  return std::nullopt;
}

// ---- the target --------------------------------------------------------------------------------

/// The authority of an absolute-form target, which is what follows "http://" or "https://"; `rest`
/// gets what comes after it. nullopt: no such form.
std::optional<std::string_view> take_authority(std::string_view target, std::string_view& rest) {
  const std::size_t colon = target.find("://");
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view scheme = target.substr(0, colon);
  if (!equals_ignoring_case(scheme, "http") && !equals_ignoring_case(scheme, "https"))
    return std::nullopt;
  const std::string_view tail = target.substr(colon + 3);
  const std::string_view authority = tail.substr(0, tail.find_first_of("/?"));
  rest = tail.substr(authority.size());
  return authority;
}

void split_path(Request& request, std::string_view path_and_query) {
  const std::size_t mark = path_and_query.find('?');
  request.path = path_and_query.substr(0, mark);
  if (request.path.empty()) request.path = "/";
  request.query =
      mark == std::string_view::npos ? std::string_view() : path_and_query.substr(mark + 1);
}

/// Origin form, absolute form (whose authority outranks Host, RFC 9112 §3.2.2), or `OPTIONS *`.
std::optional<Fault> take_target(RequestHead& head, const Framing& framing) {
  Request& request = head.request;
  if (request.target.starts_with('/')) {
    split_path(request, request.target);
    return std::nullopt;
  }
  if (request.target == "*") {
    if (request.method != Method::options) return kBadTarget;
    split_path(request, request.target);
    return std::nullopt;
  }
  std::string_view rest;
  const auto authority = take_authority(request.target, rest);
  if (!authority || !is_host_and_port(*authority)) return kBadTarget;
  if (framing.hosts == 1) head.headers[framing.host_index].value = *authority;
  split_path(request, rest);
  return std::nullopt;
}

}  // namespace

HeadScanner::Found HeadScanner::fail(const Fault& fault) {
  fault_ = fault;
  return Found::fault;
}

/// Only the bytes within the limit are looked at, so that the answer does not depend on how they
/// arrive.
HeadScanner::Found HeadScanner::scan(std::string_view bytes, std::size_t head_bytes_max) {
  while (scanned_ < bytes.size()) {
    const std::size_t end = std::min(bytes.size(), start_ + head_bytes_max);
    const void* found = std::memchr(bytes.data() + scanned_, '\n', end - scanned_);
    if (found == nullptr) {
      scanned_ = end;
      break;
    }
    const auto at = static_cast<std::size_t>(static_cast<const char*>(found) - bytes.data());
    if (at == 0 || bytes[at - 1] != '\r') return fail(kBadLineEnding);
    const bool is_empty = at - line_start_ == 1;
    line_start_ = scanned_ = at + 1;
    if (is_empty && lines_ == 0) {  // RFC 9112 §2.2: one before the request line is forgiven
      if (start_ != 0) return fail(kBadRequestLine);
      start_ = line_start_;
      continue;
    }
    ++lines_;
    if (is_empty) return Found::complete;
  }
  if (bytes.size() - start_ < head_bytes_max) return Found::need_more;
  return fail(lines_ == 0 ? kTargetTooLong : kHeadTooLarge);
}

std::optional<Fault> parse_head(std::string_view bytes, RequestHead& head) {
  Request& request = head.request;
  head.headers.clear();
  head.chunked = head.expects_continue = false;
  request.content_length.reset();
  request.body = {};

  Framing framing;
  std::string_view rest = bytes;
  if (const auto fault = take_request_line(rest, head)) return fault;
  if (const auto fault = take_fields(rest, framing, head)) return fault;
  if (!rest.empty()) return kBadHeader;
  if (head.http11 && framing.hosts != 1) return kBadHost;

  request.headers = head.headers;
  request.has_body = head.chunked || request.content_length.value_or(0) > 0;
  head.keep_alive = !framing.wants_close && (head.http11 || framing.wants_keep_alive);
  head.names_host = framing.hosts == 1 && !head.headers[framing.host_index].value.empty();
  return take_target(head, framing);
}

bool salvage_head(std::string_view bytes, RequestHead& head) {
  Request& request = head.request;
  head.headers.clear();
  request.target = request.path = request.query = request.body = {};
  request.headers = {};
  request.content_length.reset();
  request.has_body = false;

  std::string_view rest = bytes;
  request.method_name = take_token(rest);
  request.method = method_of(request.method_name);
  if (request.method_name.empty() || !rest.starts_with(' ')) return false;
  const std::size_t line_end = rest.find('\n');
  if (line_end == std::string_view::npos || rest[line_end - 1] != '\r') return true;
  rest.remove_prefix(line_end + 1);

  for (Header field; head.headers.size() < kHeadersMax && take_field(rest, field);)
    head.headers.push_back(field);
  request.headers = head.headers;
  return true;
}

}  // namespace quern::http
