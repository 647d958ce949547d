#pragma once
// From bytes to a request's head, strictly: what RFC 9112 lets a recipient repair is refused here,
// since two parsers that repair differently are how requests are smuggled.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "http/message.h"

namespace quern::http {

/// Why a request was refused before the handler saw it.
struct Fault {
  unsigned status = 400;
  std::string_view reason;  // a literal
};

inline constexpr std::size_t kHeadersMax = 128;  // of one head; more are refused with 431

/// Finds the end of a head in bytes that arrive piece by piece, looking at each byte once.
class HeadScanner {
 public:
  enum class Found : std::uint8_t { need_more, complete, fault };

  /// `bytes`: everything since the head began, so it only grows until reset().
  Found scan(std::string_view bytes, std::size_t head_bytes_max);

  /// After `complete`: where the request line begins (an empty line before it is skipped) and the
  /// head ends.
  [[nodiscard]] std::size_t start() const { return start_; }
  [[nodiscard]] std::size_t end() const { return line_start_; }
  /// After `fault`.
  [[nodiscard]] const Fault& fault() const { return fault_; }

  void reset() { *this = HeadScanner(); }

 private:
  Found fail(const Fault& fault);

  std::size_t start_ = 0;
  std::size_t scanned_ = 0;
  std::size_t line_start_ = 0;
  std::size_t lines_ = 0;
  Fault fault_;
};

/// A head, taken apart. Views point into the bytes given to parse_head.
struct RequestHead {
  Request request;
  std::vector<Header> headers;
  bool http11 = false;
  bool keep_alive = false;
  bool chunked = false;
  bool expects_continue = false;
  bool names_host = false;  // by a Host header that is not empty
};

/// Parses a complete head, up to and with its empty line, into `head`, reusing its memory. Returns
/// the fault of a head that must be refused; `head` is then unspecified.
std::optional<Fault> parse_head(std::string_view bytes, RequestHead& head);

/// What a head that is refused, or not complete, tells all the same, for the answer to it: the method,
/// and the fields before the first that is malformed. The rest of `head.request` is empty. False if
/// it does not begin with a method; `head` is then unspecified.
bool salvage_head(std::string_view bytes, RequestHead& head);

}  // namespace quern::http
