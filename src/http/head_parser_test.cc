#include "http/head_parser.h"

#include <gtest/gtest.h>

#include <string>

namespace quern::http {
namespace {

constexpr std::size_t kMax = 1024;

/// Feeds a head byte by byte, as the slowest peer would. 0: parsed; 1: incomplete; else the fault's
/// status.
unsigned parse_slowly(std::string_view bytes, RequestHead& head) {
  HeadScanner scanner;
  for (std::size_t i = 0; i <= bytes.size(); ++i) {
    switch (scanner.scan(bytes.substr(0, i), kMax)) {
      case HeadScanner::Found::need_more:
        continue;
      case HeadScanner::Found::fault:
        return scanner.fault().status;
      case HeadScanner::Found::complete:
        break;
    }
    EXPECT_EQ(scanner.end(), i);
    const auto found = bytes.substr(0, scanner.end()).substr(scanner.start());
    const auto fault = parse_head(found, head);
    return fault ? fault->status : 0;
  }
  return 1;
}

unsigned status_of(std::string_view bytes) {
  RequestHead head;
  return parse_slowly(bytes, head);
}

TEST(HeadParser, TakesAHeadApart) {
  RequestHead head;

  ASSERT_EQ(parse_slowly("PUT /a/b?c=d&e HTTP/1.1\r\nHost: h:80\r\nX-Empty:\r\n"
                         "X-Two: \t two words \t\r\nContent-Length: 12\r\n\r\n",
                         head),
            0U);

  const Request& request = head.request;
  EXPECT_EQ(request.method, Method::put);
  EXPECT_EQ(request.method_name, "PUT");
  EXPECT_EQ(request.target, "/a/b?c=d&e");
  EXPECT_EQ(request.path, "/a/b");
  EXPECT_EQ(request.query, "c=d&e");
  EXPECT_EQ(request.find_header("host"), "h:80");
  EXPECT_EQ(request.find_header("x-empty"), "");
  EXPECT_EQ(request.find_header("x-two"), "two words");
  EXPECT_EQ(request.content_length, 12U);
  EXPECT_TRUE(request.has_body);
  EXPECT_TRUE(head.keep_alive);
  EXPECT_FALSE(head.chunked);
}

TEST(HeadParser, ForgetsTheHeadBefore) {
  RequestHead head;
  ASSERT_EQ(parse_slowly("POST /a?q HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
                         "Expect: 100-continue\r\nConnection: close\r\n\r\n",
                         head),
            0U);
  ASSERT_TRUE(head.chunked && head.expects_continue && !head.keep_alive);

  ASSERT_EQ(parse_slowly("GET /b HTTP/1.1\r\nHost: h\r\n\r\n", head), 0U);

  EXPECT_FALSE(head.chunked);
  EXPECT_FALSE(head.expects_continue);
  EXPECT_FALSE(head.request.has_body);
  EXPECT_EQ(head.request.content_length, std::nullopt);
  EXPECT_EQ(head.request.query, "");
  EXPECT_EQ(head.request.headers.size(), 1U);
  EXPECT_TRUE(head.keep_alive);
}

TEST(HeadParser, KnowsWhenAConnectionGoesOn) {
  const auto keeps = [](std::string_view bytes) {
    RequestHead head;
    EXPECT_EQ(parse_slowly(bytes, head), 0U) << bytes;
    return head.keep_alive;
  };
  EXPECT_TRUE(keeps("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.1\r\nHost: h\r\nConnection: foo, close\r\n\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_TRUE(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
}

TEST(HeadParser, AcceptsAbsoluteTargetsWhoseAuthorityOutranksHost) {
  RequestHead head;

  ASSERT_EQ(parse_slowly("GET http://real:81/p?q HTTP/1.1\r\nHost: other\r\n\r\n", head), 0U);
  EXPECT_EQ(head.request.path, "/p");
  EXPECT_EQ(head.request.query, "q");
  EXPECT_EQ(head.request.find_header("Host"), "real:81");

  ASSERT_EQ(parse_slowly("GET HTTP://real?q HTTP/1.1\r\nHost: other\r\n\r\n", head), 0U);
  EXPECT_EQ(head.request.path, "/");
  EXPECT_EQ(head.request.query, "q");
}

TEST(HeadParser, RefusesWhatTwoParsersMightReadDifferently) {
  struct Case {
    std::string_view bytes;
    unsigned status;
  };
  const Case cases[] = {
      // The request line.
      {"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET /\r\n\r\n", 400},
      {"G@T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"G{T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {" GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400},
      {"GET / http/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET / HTTP/11\r\nHost: h\r\n\r\n", 400},
      {"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505},
      {"GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505},
      {"PRI * HTTP/2.0\r\n\r\n", 505},
      {"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      // Targets.
      {"GET a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET /a\x01 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET http://:80/a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      // Hosts.
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
      {"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\"><b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: [\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400},
      {"GET / HTTP/1.0\r\nHost: a:b:c\r\n\r\n", 400},
      // Line endings and folds.
      {"GET / HTTP/1.1\nHost: h\n\n", 400},
      {"GET / HTTP/1.1\r\nHost: h\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: h\r\n\n", 400},
      {"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: h\r\nX:\r\n\tb\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400},
      // Fields.
      {"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: h\r\nX\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: h\r\nX(: a\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: h\r\nX: a\x01\r\n\r\n", 400},
      {std::string_view("GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", 37), 400},
      // Lengths.
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
       400},
      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
       400},
      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
       "chunked\r\n\r\n",
       400},
      {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 501},
      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n", 501},
      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", 501},
      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding\t: chunked\r\n\r\n", 400},
      // Expectations.
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: lunch\r\n\r\n", 417},
  };
  for (const Case& c : cases) EXPECT_EQ(status_of(c.bytes), c.status) << c.bytes;
}

/// "METHOD name=value …": what salvage_head finds; "-" if nothing.
std::string salvage(std::string_view bytes) {
  RequestHead head;
  EXPECT_EQ(parse_slowly("PUT /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n", head), 0U);
  if (!salvage_head(bytes, head)) return "-";
  EXPECT_EQ(std::string(head.request.target).append(head.request.path), "");
  EXPECT_EQ(head.request.content_length, std::nullopt);
  EXPECT_EQ(head.request.method == Method::head, head.request.method_name == "HEAD");
  std::string found(head.request.method_name);
  for (const auto& [name, value] : head.request.headers)
    found.append(" ").append(name).append("=").append(value);
  return found;
}

TEST(HeadParser, SalvagesTheMethodAndTheFieldsBeforeWhatIsMalformed) {
  EXPECT_EQ(salvage("HEAD / HTTP/2.0\r\nA: b\r\nC:\r\n\r\n"), "HEAD A=b C=");
  EXPECT_EQ(salvage("GET / HTTP/1.1\r\nHost: \r\nHost: [\r\nExpect: x\r\nA: b\r\n\r\n"),
            "GET Host= Host=[ Expect=x A=b");
  EXPECT_EQ(salvage("GET /  HTTP\r\nA: b\r\n\r\n"), "GET A=b");
  EXPECT_EQ(salvage("GET / HTTP/1.1\r\nA: b\r\nC : d\r\nE: f\r\n\r\n"), "GET A=b");
  EXPECT_EQ(salvage("GET / HTTP/1.1\r\nA: b\r\nC: d\nE: f\r\n\r\n"), "GET A=b");
  EXPECT_EQ(salvage("GET / HTTP/1.1\nA: b\r\n\r\n"), "GET");
  // Of a head that goes on, only lines that have come whole.
  EXPECT_EQ(salvage("HEAD /"), "HEAD");
  EXPECT_EQ(salvage("HEAD / HTTP/1.1\r"), "HEAD");
  EXPECT_EQ(salvage("HEAD / HTTP/1.1\r\nA: b\r\nC: d"), "HEAD A=b");
  for (const auto* bytes : {"", "HEAD", "HEAD\r\n\r\n", " HEAD / HTTP/1.1\r\nA: b\r\n\r\n",
                            "HEAD@ / HTTP/1.1\r\nA: b\r\n\r\n", "\r\nHEAD / HTTP/1.1\r\n\r\n"})
    EXPECT_EQ(salvage(bytes), "-") << bytes;
}

TEST(HeadParser, SalvagesNoMoreFieldsThanAHeadMayHave) {
  std::string head = "GET / HTTP/1.1\r\n";
  for (std::size_t i = 0; i < kHeadersMax; ++i) head += "a:b\r\n";

  const std::string found = salvage(head + "c:d\r\n\r\n");

  EXPECT_EQ(found.size(), 3 + kHeadersMax * 4);
}

TEST(HeadParser, AcceptsWhatTheStandardAllows) {
  const std::string_view cases[] = {
      "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
      "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
      "GET / HTTP/1.1\r\nHost:\r\n\r\n",
      "GET / HTTP/1.1\r\nhOsT:[::1]:80\r\n\r\n",
      "GET / HTTP/1.0\r\n\r\n",
      "BREW / HTTP/1.1\r\nHost: h\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\nX: \xc3\xa9\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\n",
      "POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: whatever\r\n\r\n",
  };
  for (const auto bytes : cases) EXPECT_EQ(status_of(bytes), 0U) << bytes;
}

TEST(HeadParser, LooksAtEveryCharacterOfLongTargetsAndValues) {
  for (std::size_t before = 0; before < 40; ++before) {
    const std::string plain(before, 'a');
    const auto is_target = [&](char c) {
      return status_of("GET /" + plain + c + plain + " HTTP/1.1\r\nHost: h\r\n\r\n") == 0;
    };
    const auto is_value = [&](char c) {
      return status_of("GET / HTTP/1.1\r\nHost: h\r\nX: " + plain + c + plain + "\r\n\r\n") == 0;
    };
    for (const char c : {'!', '~', '?', '"'}) EXPECT_TRUE(is_target(c)) << before << c;
    for (const char c : {'\0', '\x1F', '#', '\x7F', '\x80', '\xFF'})
      EXPECT_FALSE(is_target(c)) << before << c;
    for (const char c : {'\t', ' ', '~', '\x80', '\xFF'}) EXPECT_TRUE(is_value(c)) << before << c;
    for (const char c : {'\0', '\x1F', '\r', '\x7F'}) EXPECT_FALSE(is_value(c)) << before << c;
  }
}

TEST(HeadParser, LimitsTheHeadAndTheTargetAlone) {
  const std::string start = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
  const std::string fits = start + std::string(kMax - start.size() - 4, 'x') + "\r\n\r\n";
  ASSERT_EQ(fits.size(), kMax);

  EXPECT_EQ(status_of(fits), 0U);
  EXPECT_EQ(status_of(start + std::string(kMax - start.size() - 3, 'x') + "\r\n\r\n"), 431U);
  EXPECT_EQ(status_of(start + std::string(2 * kMax, 'x')), 431U);
  EXPECT_EQ(status_of("GET /" + std::string(2 * kMax, 'x')), 414U);
  EXPECT_EQ(status_of("GET /" + std::string(kMax, 'x') + " HTTP/1.1\r\nHost: h\r\n\r\n"), 414U);
}

TEST(HeadParser, LimitsTheNumberOfHeaders) {
  std::string head = "GET / HTTP/1.1\r\nHost: h\r\n";
  for (std::size_t i = 1; i < kHeadersMax; ++i) head += "a:b\r\n";

  EXPECT_EQ(status_of(head + "\r\n"), 0U);
  EXPECT_EQ(status_of(head + "a:b\r\n\r\n"), 431U);
}

}  // namespace
}  // namespace quern::http
