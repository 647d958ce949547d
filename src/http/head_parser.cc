#include "http/head_parser.h"

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <cstring>

namespace quern::http {
namespace {

namespace beast = boost::beast;
using beast::http::field;
using beast::http::verb;

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

bool equals_lower(std::string_view text, std::string_view lower) {
  return std::ranges::equal(text, lower, {}, [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  });
}

bool is_decimal(char c) { return c >= '0' && c <= '9'; }

/// The characters of host[:port] that cannot change the meaning of a URL that is built with it.
bool is_host(std::string_view text) {
  constexpr std::string_view kPunctuation = "-._~:[]%";
  return std::ranges::all_of(text, [&](char c) {
    return is_decimal(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kPunctuation.find(c) != std::string_view::npos;
  });
}

bool is_target(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f && c != '#'; });
}

Method method_of(verb name) {
  switch (name) {
    case verb::get:
      return Method::get;
    case verb::head:
      return Method::head;
    case verb::post:
      return Method::post;
    case verb::put:
      return Method::put;
    case verb::delete_:
      return Method::delete_;
    case verb::options:
      return Method::options;
    case verb::patch:
      return Method::patch;
    default:
      return Method::other;
  }
}

/// The authority of an absolute-form target, which is what follows "http://" or "https://"; `rest`
/// gets what comes after it. nullopt: no such form.
std::optional<std::string_view> take_authority(std::string_view target, std::string_view& rest) {
  const std::size_t colon = target.find("://");
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view scheme = target.substr(0, colon);
  if (!equals_lower(scheme, "http") && !equals_lower(scheme, "https")) return std::nullopt;
  const std::string_view tail = target.substr(colon + 3);
  const std::string_view authority = tail.substr(0, tail.find_first_of("/?"));
  rest = tail.substr(authority.size());
  return authority;
}

/// Beast knows the grammar; this keeps what it finds as views and refuses what it would tolerate.
class Collector final : public beast::http::basic_parser<true> {
 public:
  Collector(RequestHead& head, std::size_t head_bytes) : head_(head) {
    header_limit(static_cast<std::uint32_t>(head_bytes));
    body_limit(boost::none);
  }

  /// The fault that ended the parsing, if it was not one of Beast's.
  [[nodiscard]] const std::optional<Fault>& fault() const { return fault_; }
  [[nodiscard]] std::size_t hosts() const { return hosts_; }
  [[nodiscard]] std::size_t host_index() const { return host_index_; }

 private:
  using Text = beast::string_view;
  using Code = beast::error_code;

  void refuse(const Fault& fault, Code& code) {
    fault_ = fault;
    code = beast::http::error::bad_value;
  }

  void on_request_impl(verb name, Text method, Text target, int version, Code& code) override {
    if (target.size() == 0 || !is_target(target)) return refuse(kBadTarget, code);
    head_.request.method = method_of(name);
    head_.request.method_name = method;
    head_.request.target = target;
    head_.http11 = version == 11;
  }

  void on_field_impl(field name, Text text, Text value, Code& code) override {
    if (head_.headers.size() == kHeadersMax) return refuse(kTooManyHeaders, code);
    if (name == field::host) {
      host_index_ = head_.headers.size();
      if (++hosts_ > 1 || !is_host(value)) return refuse(kBadHost, code);
    } else if (name == field::content_length) {
      take_length(value, code);
    } else if (name == field::transfer_encoding) {
      take_coding(value, code);
    } else if (name == field::expect && head_.http11) {
      if (!equals_lower(value, "100-continue")) return refuse(kUnknownExpectation, code);
      head_.expects_continue = true;
    }
    head_.headers.push_back({text, value});
  }

  /// Beast accepts a repeated length and the list "5, 5"; their ambiguity is refused here.
  void take_length(std::string_view value, Code& code) {
    if (std::exchange(has_length_, true) || has_coding_ ||
        !std::ranges::all_of(value, is_decimal)) {
      refuse(kBadLength, code);
    }
  }

  void take_coding(std::string_view value, Code& code) {
    if (std::exchange(has_coding_, true) || has_length_ || !head_.http11) {
      return refuse(kBadCoding, code);
    }
    if (!equals_lower(value, "chunked")) refuse(kUnknownCoding, code);
  }

  void on_response_impl(int, Text, int, Code&) override {}
  void on_header_impl(Code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, Code&) override {}
  std::size_t on_body_impl(Text, Code&) override { return 0; }
  void on_chunk_header_impl(std::uint64_t, Text, Code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, Text, Code&) override { return 0; }
  void on_finish_impl(Code&) override {}

  RequestHead& head_;
  std::optional<Fault> fault_;
  std::size_t hosts_ = 0;
  std::size_t host_index_ = 0;
  bool has_length_ = false;
  bool has_coding_ = false;
};

/// Whether the request line ends in a version that is well formed, such as HTTP/2.0.
bool ends_in_version(std::string_view bytes) {
  const std::string_view line = bytes.substr(0, bytes.find('\r'));
  if (line.size() < 9) return false;
  const std::string_view version = line.substr(line.size() - 9);
  return version.starts_with(" HTTP/") && is_decimal(version[6]) && version[7] == '.' &&
         is_decimal(version[8]);
}

Fault fault_of(beast::error_code code, std::string_view bytes) {
  using beast::http::error;
  if (code == error::bad_version && ends_in_version(bytes)) return kBadVersion;
  if (code == error::bad_target) return kBadTarget;
  if (code == error::bad_method || code == error::bad_version) return kBadRequestLine;
  if (code == error::bad_content_length || code == error::multiple_content_length) {
    return kBadLength;
  }
  if (code == error::bad_transfer_encoding) return kBadCoding;
  return kBadHeader;
}

void split_path(Request& request, std::string_view path_and_query) {
  const std::size_t mark = path_and_query.find('?');
  request.path = path_and_query.substr(0, mark);
  if (request.path.empty()) request.path = "/";
  request.query =
      mark == std::string_view::npos ? std::string_view() : path_and_query.substr(mark + 1);
}

/// Origin form, absolute form (whose authority outranks Host, RFC 9112 §3.2.2), or `OPTIONS *`.
std::optional<Fault> take_target(RequestHead& head, const Collector& parser) {
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
  if (!authority || authority->empty() || !is_host(*authority)) return kBadTarget;
  if (parser.hosts() == 1) head.headers[parser.host_index()].value = *authority;
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

std::optional<Fault> parse_head(std::string_view bytes, std::size_t lines, RequestHead& head) {
  head.headers.clear();
  head.expects_continue = false;
  Collector parser(head, bytes.size());
  beast::error_code code;
  const std::size_t used = parser.put(boost::asio::const_buffer(bytes.data(), bytes.size()), code);
  if (parser.fault()) return parser.fault();
  if (code) return fault_of(code, bytes);
  // A folded header is one field of two lines.
  if (used != bytes.size() || head.headers.size() + 2 != lines) return kBadHeader;
  if (head.http11 && parser.hosts() != 1) return kBadHost;

  Request& request = head.request;
  request.headers = head.headers;
  request.body = {};
  request.content_length.reset();
  if (const auto length = parser.content_length(); length) request.content_length = *length;
  head.keep_alive = parser.keep_alive();
  head.chunked = parser.chunked();
  request.has_body = head.chunked || request.content_length.value_or(0) > 0;
  return take_target(head, parser);
}

}  // namespace quern::http
