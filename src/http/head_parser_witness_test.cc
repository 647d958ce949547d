// Beast's parser as a witness: whatever ours accepts, Beast accepts too and understands the same way.
// (The other way round it need not be: ours refuses what Beast would repair.)

#include <gtest/gtest.h>

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <string>
#include <string_view>

#include "http/head_parser.h"
#include "testing/seeded_random.h"

namespace quern::http {
namespace {

namespace beast = boost::beast::http;

constexpr std::string_view kHeads[] = {
    "GET /v1/queue/speech/requests/mmsu_01/status?logs=1 HTTP/1.1\r\nHost: a.b:80\r\n"
    "User-Agent: python-httpx/0.28.1\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n",
    "POST http://h/v1/queue/speech HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 42\r\n"
    "Expect: 100-continue\r\nConnection: close, x\r\n\r\n",
    "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nX-Two: \t two words\t\r\n\r\n",
    "OPTIONS * HTTP/1.0\r\nConnection: Keep-Alive\r\nX-Empty:\r\n\r\n",
};
/// What mutations put in: all that is special in a head.
constexpr std::string_view kPieces[] = {
    "\r\n", "\r",     "\n",       " ",        "\t",       ":",        ",",
    "#",    "\x7f",   "\xc3\xa9", "HTTP/1.0", "Host: h",  "close",    "chunked",
    "0",    "999999", "GET",      "//",       "X: y\r\n", "\r\n\r\n", "Content-Length: 1\r\n",
};

std::string mutate(Random& random) {
  std::string head(kHeads[random.next_u64() % std::size(kHeads)]);
  for (std::uint64_t edits = random.next_u64() % 4; edits > 0; --edits) {
    const std::size_t at = random.next_u64() % head.size();
    const std::size_t removed = random.next_u64() % 4;
    const std::string_view piece = kPieces[random.next_u64() % std::size(kPieces)];
    head.replace(at, removed, random.next_u64() % 3 == 0 ? std::string_view() : piece);
  }
  return head;
}

/// Nothing if ours refuses the head or it is not complete; else the head's bytes.
std::string_view parse(std::string_view bytes, RequestHead& head) {
  HeadScanner scanner;
  if (scanner.scan(bytes, 16 * 1024) != HeadScanner::Found::complete) return {};
  const auto found = bytes.substr(0, scanner.end()).substr(scanner.start());
  return parse_head(found, head) ? std::string_view() : found;
}

void expect_the_same(const RequestHead& ours, std::string_view bytes) {
  beast::request_parser<beast::empty_body> theirs;
  boost::system::error_code error;
  theirs.body_limit(boost::none);
  theirs.put(boost::asio::const_buffer(bytes.data(), bytes.size()), error);
  ASSERT_TRUE(!error || error == beast::error::unexpected_body) << error.message();
  ASSERT_TRUE(theirs.is_header_done());

  const auto& message = theirs.get();
  const auto same = [](std::string_view a, boost::core::string_view b) {
    return a == std::string_view(b.data(), b.size());
  };
  EXPECT_TRUE(same(ours.request.method_name, message.method_string()));
  EXPECT_TRUE(same(ours.request.target, message.target()));
  EXPECT_EQ(ours.http11, message.version() == 11);
  EXPECT_EQ(ours.chunked, message.chunked());
  ASSERT_EQ(ours.headers.size(),
            static_cast<std::size_t>(std::distance(message.begin(), message.end())));
  auto field = message.begin();
  const bool is_absolute = !ours.request.target.starts_with('/') && ours.request.target != "*";
  for (const Header& header : ours.headers) {
    EXPECT_TRUE(same(header.name, field->name_string()));
    // The authority of an absolute target takes the place of Host's value.
    const bool is_host = field->name() == beast::field::host;
    EXPECT_TRUE(same(header.value, field->value()) || (is_absolute && is_host));
    ++field;
  }
}

TEST(HeadParserWitness, AcceptsNothingThatBeastReadsDifferently) {
  constexpr int kRuns = 30'000;
  SeededRandom random(7);
  int accepted = 0;

  for (int run = 0; run < kRuns; ++run) {
    const std::string bytes = mutate(random);
    RequestHead head;
    const std::string_view found = parse(bytes, head);
    if (found.empty()) continue;
    ++accepted;
    expect_the_same(head, found);
    if (HasFailure()) FAIL() << bytes;
  }

  EXPECT_GT(accepted, kRuns / 10);
  EXPECT_LT(accepted, kRuns * 9 / 10);
}

}  // namespace
}  // namespace quern::http
