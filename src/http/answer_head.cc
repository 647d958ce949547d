#include "http/answer_head.h"

#include <array>
#include <charconv>
#include <cstdio>

namespace quern::http {
namespace {

void append_number(std::string& out, std::uint64_t number) {
  std::array<char, 20> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

}  // namespace

void append_answer_head(std::string& out, const Response& response, const AnswerFraming& framing,
                        std::string_view common) {
  out.append("HTTP/1.1 ");
  append_number(out, response.status);
  out.append(" ").append(reason_phrase(response.status)).append("\r\n");
  out.append(common).append(response.head);
  if (framing.content_length) {
    out.append("Content-Length: ");
    append_number(out, *framing.content_length);
    out.append("\r\n");
  }
  if (framing.chunked) out.append("Transfer-Encoding: chunked\r\n");
  if (!framing.connection.empty()) {
    out.append("Connection: ").append(framing.connection).append("\r\n");
  }
  out.append("\r\n");
}

bool is_bodyless(unsigned status) { return status < 200 || status == 204 || status == 304; }

std::string make_common_headers(std::time_t now) {
  // Not strftime: its names follow the locale.
  static constexpr std::array kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  std::array<char, 96> text;
  const int length = std::snprintf(text.data(), text.size(),
                                   "Server: quern\r\nDate: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n",
                                   kDays[static_cast<std::size_t>(utc.tm_wday)], utc.tm_mday,
                                   kMonths[static_cast<std::size_t>(utc.tm_mon)],
                                   utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
  return {text.data(), static_cast<std::size_t>(length)};
}

}  // namespace quern::http
