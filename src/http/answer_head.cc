#include "http/answer_head.h"

#include <array>
#include <cstdio>

#include "base/text.h"

namespace quern::http {

void append_answer_head(std::string& out, const Response& response, const AnswerFraming& framing,
                        std::string_view common) {
  append_all(out, "HTTP/1.1 ", DecimalText(response.status), " ", reason_phrase(response.status),
             "\r\n", common, response.head);
  if (framing.content_length)
    append_all(out, "Content-Length: ", DecimalText(*framing.content_length), "\r\n");
  if (framing.chunked) out += "Transfer-Encoding: chunked\r\n";
  if (!framing.connection.empty()) append_all(out, "Connection: ", framing.connection, "\r\n");
  out += "\r\n";
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
