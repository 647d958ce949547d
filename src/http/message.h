#pragma once
// HTTP as plain values: what came in, what goes out. Nothing of Beast, nothing of tasks.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "http/byte_budget.h"

namespace quern::http {

enum class Method : std::uint8_t { get, head, post, put, delete_, options, patch, other };

struct Header {
  std::string_view name;
  std::string_view value;  // without white space around it
};

/// A request's head, and its body once it was read. Views point into the connection's buffers and
/// live until the request was answered.
struct Request {
  Method method = Method::get;
  std::string_view method_name;  // as sent
  std::string_view target;       // as sent: path and query
  std::string_view path;         // before the first '?', undecoded
  std::string_view query;        // after it, undecoded; empty if none
  std::span<const Header> headers;
  std::optional<std::uint64_t> content_length;  // nullopt: chunked or no body
  bool has_body = false;                        // Content-Length above 0, or chunked
  std::string_view body;                        // after Exchange::read_body
  std::string_view peer_ip;                     // "127.0.0.1", "::1"
  std::string_view local;  // "127.0.0.1:8080", where it came to; if it has no Host, or an empty one
  bool tls = false;

  /// The first header of this name (any case), or nullopt.
  [[nodiscard]] std::optional<std::string_view> find_header(std::string_view name) const;
};

/// Bytes of an open file. The descriptor is closed by the connection.
struct FileBody {
  int fd = -1;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

struct Response {
  unsigned status = 200;
  std::string head;  // complete header lines, each ended by CRLF; see add_header
  std::string body;
  std::optional<FileBody> file;  // instead of `body`
  bool close = false;            // end the connection after this answer
  ByteHold hold;                 // Exchange::hold() of `body`, until it was taken

  /// Characters that may not stand in a header value become spaces.
  Response& add_header(std::string_view name, std::string_view value);
};

/// Never empty: an unknown code has the phrase of its class.
std::string_view reason_phrase(unsigned status);

/// "%41" -> "A"; nullopt on a broken escape. '+' stays.
std::optional<std::string> percent_decode(std::string_view text);
/// A query split into decoded names and values, '+' as space; broken escapes stay as they are.
std::vector<std::pair<std::string, std::string>> parse_query(std::string_view query);

}  // namespace quern::http
