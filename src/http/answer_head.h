#pragma once
// The head of an answer, as bytes.

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"

namespace quern::http {

/// How the peer learns where the body ends, and whether the connection goes on.
struct AnswerFraming {
  std::optional<std::uint64_t> content_length;
  bool chunked = false;
  std::string_view connection;  // "close", "keep-alive", or empty for no header
};

/// `common`: complete header lines that every answer has.
void append_answer_head(std::string& out, const Response& response, const AnswerFraming& framing,
                        std::string_view common);

/// 1xx, 204 and 304 have no body and no Content-Length.
[[nodiscard]] bool is_bodyless(unsigned status);

/// "Server: quern\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
[[nodiscard]] std::string make_common_headers(std::time_t now);

}  // namespace quern::http
