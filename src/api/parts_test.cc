// The small parts: headers, query, ranges, origins, webhooks, links, multipart.

#include <gtest/gtest.h>

#include "api/ascii_json.h"
#include "api/base_url.h"
#include "api/byte_range.h"
#include "api/cors.h"
#include "api/multipart.h"
#include "api/query_params.h"
#include "api/request_heads.h"
#include "api/upload_links.h"
#include "api/webhook_guard.h"
#include "testing/manual_clock.h"
#include "testing/seeded_random.h"

namespace quern::api {
namespace {

TEST(RequestHeads, FindEachHeaderInAnyCaseAndKeepTheFirst) {
  const std::vector<http::Header> headers = {
      {"hOsT", "a"}, {"HOST", "b"}, {"X-Fal-Request-Start-Timeout", "3"}, {"Idempotency-Key", ""}};

  const RequestHeads heads = read_heads(headers);

  EXPECT_EQ(heads.host, "a");
  EXPECT_EQ(heads.fal_start_timeout, "3");
  EXPECT_TRUE(heads.has_idempotency_key);
  EXPECT_FALSE(heads.has_webhook);
}

TEST(RequestHeads, TellWebhookHeadersWithAValueFromEmptyOnes) {
  for (const char* name : {"X-Webhook-Url", "X-Webhook", "Webhook-Url", "X-Fal-Webhook",
                           "X-Fal-Webhook-Url", "X-Callback-Url", "callback-url"}) {
    const std::vector<http::Header> full = {{name, "x"}};
    const std::vector<http::Header> empty = {{name, ""}};
    EXPECT_TRUE(read_heads(full).has_webhook) << name;
    EXPECT_FALSE(read_heads(empty).has_webhook) << name;
  }
}

TEST(QueryParams, AreFoundDecodedAndFirst) {
  EXPECT_EQ(find_param("a=1&b=2&a=3", "a"), "1");
  EXPECT_EQ(find_param("%61=x%20y+z", "a"), "x y z");
  EXPECT_EQ(find_param("a", "a"), "");
  EXPECT_EQ(find_param("ab=1&a=", "a"), "");
  EXPECT_EQ(find_param("b=1&&=", "a"), std::nullopt);
  EXPECT_TRUE(find_flag("logs=true", "logs"));
  EXPECT_TRUE(find_flag("logs=1", "logs"));
  EXPECT_FALSE(find_flag("logs=True", "logs"));
  EXPECT_FALSE(find_flag("logs=0", "logs"));
}

TEST(QueryParams, CountValuesWhereverTheyStand) {
  EXPECT_TRUE(has_param_value("webhook=&webhook=x", "webhook"));
  EXPECT_FALSE(has_param_value("webhook=&webhook", "webhook"));
}

TEST(QueryParams, ReadSecondsAndCountsStrictly) {
  using std::chrono::milliseconds;
  EXPECT_EQ(parse_seconds("2"), milliseconds(2000));
  EXPECT_EQ(parse_seconds("0.05"), milliseconds(50));
  EXPECT_EQ(parse_seconds("31622401"), milliseconds(31'622'401'000));
  EXPECT_EQ(parse_seconds("1e1"), milliseconds(10'000));
  EXPECT_EQ(parse_seconds("2.5E-1"), milliseconds(250));
  EXPECT_EQ(parse_seconds("1e+21"), parse_seconds("10000000000"));
  EXPECT_EQ(parse_seconds("99999999999"), parse_seconds("10000000000"));
  for (const char* bad :
       {"", "-1", "-0", "x", "1x", "1e", "e3", "-1e3", "1e3x", "inf", "nan", " 1"})
    EXPECT_EQ(parse_seconds(bad), std::nullopt) << bad;
  EXPECT_EQ(parse_count("10"), 10U);
  for (const char* bad : {"", "-1", "+1", "1.0", "99999999999999999999"})
    EXPECT_EQ(parse_count(bad), std::nullopt) << bad;
}

TEST(ByteRange, IsASinglePartOrTheWhole) {
  const auto part = [](std::string_view header, std::uint64_t size) {
    const ByteRange range = parse_range(header, size);
    return std::tuple(range.kind, range.offset, range.bytes);
  };
  using Kind = ByteRange::Kind;
  EXPECT_EQ(part("bytes=0-0", 10), std::tuple(Kind::part, 0U, 1U));
  EXPECT_EQ(part("bytes=2-", 10), std::tuple(Kind::part, 2U, 8U));
  EXPECT_EQ(part("bytes=2-99", 10), std::tuple(Kind::part, 2U, 8U));
  EXPECT_EQ(part("Bytes=-3", 10), std::tuple(Kind::part, 7U, 3U));
  EXPECT_EQ(part("bytes=-99", 10), std::tuple(Kind::part, 0U, 10U));
  EXPECT_EQ(part("bytes=0-99999999999999999999999", 10), std::tuple(Kind::part, 0U, 10U));
  for (const char* header : {"bytes=10-", "bytes=-0", "bytes=99999999999999999999999-"})
    EXPECT_EQ(parse_range(header, 10).kind, Kind::unsatisfiable) << header;
  EXPECT_EQ(parse_range("bytes=0-", 0).kind, Kind::unsatisfiable);
  for (const char* header : {"", "bytes=", "bytes=-", "bytes=a-b", "bytes=3-1", "bytes=1-2,4-5",
                             "lines=1-2", "bytes 1-2", "bytes=1", "bytes=+1-2"})
    EXPECT_EQ(parse_range(header, 10).kind, Kind::whole) << header;
}

http::Request request_from(std::string_view peer) {
  http::Request request;
  request.peer_ip = peer;
  return request;
}

std::string url(const BaseUrls& urls, const http::Request& request, const RequestHeads& heads) {
  std::string out;
  urls.append_to(out, request, heads);
  return out;
}

TEST(BaseUrls, UseTheConfiguredOneBeforeAnyHeader) {
  const auto urls = BaseUrls::make("https://quern.example/api/", {});
  ASSERT_TRUE(urls);
  RequestHeads heads;
  heads.host = "evil\"host";

  EXPECT_TRUE(urls->can_answer(heads));
  EXPECT_EQ(url(*urls, request_from("1.2.3.4"), heads), "https://quern.example/api");
}

TEST(BaseUrls, BelieveForwardedHeadersOfTrustedProxiesOnly) {
  const auto urls = BaseUrls::make("", {"10.0.0.0/8", "2001:db8::/32", "::1"});
  ASSERT_TRUE(urls) << urls.error().message;
  RequestHeads heads;
  heads.host = "inner:80";
  heads.forwarded_host = "outer";
  heads.forwarded_proto = "https";

  for (const char* peer : {"10.255.0.1", "2001:db8:1::2", "::1", "::ffff:10.1.2.3"})
    EXPECT_EQ(url(*urls, request_from(peer), heads), "https://outer") << peer;
  for (const char* peer : {"11.0.0.1", "2001:db9::1", "127.0.0.1", "", "nonsense"})
    EXPECT_EQ(url(*urls, request_from(peer), heads), "http://inner:80") << peer;
  for (const char* bad : {"[", ":80", "a:b:c"}) {
    heads.forwarded_host = bad;
    EXPECT_EQ(url(*urls, request_from("::1"), heads), "https://inner:80") << bad;
  }
}

TEST(BaseUrls, TakeTheSchemeInAnyCaseAndTheFirstOfEachList) {
  const auto urls = BaseUrls::make("", {"10.0.0.1"});
  RequestHeads heads;
  heads.host = "inner";
  heads.forwarded_proto = "HTTPS, http";
  heads.forwarded_prefix = "/a/b/ , /c";
  EXPECT_EQ(url(*urls, request_from("10.0.0.1"), heads), "https://inner/a/b");
}

TEST(BaseUrls, TakeAForwardedPortForThatOfAHostThatWasNotForwarded) {
  const auto urls = BaseUrls::make("", {"10.0.0.1"});
  struct Case {
    std::string_view host, forwarded_host, forwarded_port, url;
  };
  for (const Case& c : {Case{"inner:8080", "", "8443", "http://inner:8443"},
                        Case{"inner:8080", "", "80", "http://inner"},
                        Case{"[::1]:8080", "", "8443", "http://[::1]:8443"},
                        Case{"[::1]", "", "8443", "http://[::1]:8443"},
                        Case{"inner:8080", "", "0", "http://inner:8080"},
                        Case{"inner:8080", "outer:9000", "8443", "http://outer:9000"},
                        Case{"inner:8080", "outer", "8443", "http://outer:8443"}}) {
    RequestHeads heads;
    heads.host = c.host;
    heads.forwarded_host = c.forwarded_host;
    heads.forwarded_port = c.forwarded_port;
    EXPECT_EQ(url(*urls, request_from("10.0.0.1"), heads), c.url);
    EXPECT_EQ(url(*urls, request_from("10.0.0.2"), heads), "http://" + std::string(c.host));
  }
}

TEST(BaseUrls, RefuseWhatIsNoUrlOrAddress) {
  for (const char* bad : {"quern.example", "ftp://x", "http://", "http://a b", "https://a/\"b",
                          "http://[", "http://:80/a", "http://a:b:c"})
    EXPECT_FALSE(BaseUrls::make(bad, {})) << bad;
  for (const char* bad : {"10.0.0.0/33", "10.0.0", "host", "::/129", "1.2.3.4/", "1.2.3.4/x"})
    EXPECT_FALSE(BaseUrls::make("", {bad})) << bad;
}

TEST(BaseUrls, FallBackToTheLocalAddressWithoutAHostHeader) {
  const auto urls = BaseUrls::make("", {});
  ASSERT_TRUE(urls);
  http::Request request = request_from("1.2.3.4");
  request.local = "10.0.0.1:8080";
  EXPECT_EQ(url(*urls, request, {}), "http://10.0.0.1:8080");
  EXPECT_EQ(url(*urls, request_from("1.2.3.4"), {}), "http://localhost");
  RequestHeads heads;
  for (const char* bad : {"a/b", "[", ":80", "a:b:c", "a:65536"}) {
    heads.host = bad;
    EXPECT_FALSE(urls->can_answer(heads)) << bad;
  }
}

TEST(Cors, AllowsAnyOriginByAStar) {
  const Cors cors({"*"});
  std::string head;
  cors.add_to(head, "https://anyone.example");
  EXPECT_NE(head.find("Access-Control-Allow-Origin: *\r\n"), std::string::npos);
  EXPECT_EQ(head.find("Vary"), std::string::npos);
}

TEST(Cors, AddsNothingWhenNoOriginIsConfigured) {
  const Cors cors({});
  std::string head;
  cors.add_to(head, "https://anyone.example");
  RequestHeads heads;
  heads.origin = "https://anyone.example";
  cors.add_preflight_to(head, heads);
  EXPECT_EQ(head, "");
}

TEST(Cors, EchoesOnlyWellFormedFalHeaders) {
  const Cors cors({"https://a"});
  RequestHeads heads;
  heads.origin = "https://a";
  heads.cors_headers =
      "X-FAL-one,x-fal-, x-fal-a b "
      ",x-other,\tx-fal-two\t,,x-fal-q\",x-app-fal-,X-App-Fal-three,x-app-four";
  std::string head;
  cors.add_preflight_to(head, heads);
  EXPECT_NE(head.find("idempotency-key, X-FAL-one, x-fal-two, X-App-Fal-three\r\n"),
            std::string::npos)
      << head;
}

TEST(AsciiJson, SaysTheSameInAsciiAlone) {
  EXPECT_EQ(to_ascii_json(R"({"a":"plain \u00e4 \\"})"), R"({"a":"plain \u00e4 \\"})");
  EXPECT_EQ(to_ascii_json("\"\xC3\xA4\xE2\x82\xAC\xEF\xBF\xBF\xF0\x9F\x98\x80x\""),
            R"("\u00e4\u20ac\uffff\ud83d\ude00x")");
  EXPECT_EQ(to_ascii_json("\"\xF4\x8F\xBF\xBF\xFF\""), R"("\udbff\udfff\ufffd")");
  for (const char* text :
       {"\"\xC2\x80\"", "\"\xF0\x90\x80\x80\"", "[\"\xC3\xA4\",{\"\xE2\x82\xAC\":1}]"})
    EXPECT_EQ(*parse_json(to_ascii_json(text)), *parse_json(text)) << text;
}

bool has_webhook(std::string_view text) {
  auto body = parse_json(text);
  return take_webhook_members(body->get_object(), nullptr) == WebhookMember::asks;
}

TEST(WebhookGuard, TakesMembersThatCountAsAbsentOutOfTheBody) {
  json::value body = *parse_json(R"({"webhook":null,"a":1,"callback":"","b":2,"c":""})");
  json::value plain = *parse_json(R"({"a":null})");

  EXPECT_EQ(take_webhook_members(body.get_object(), nullptr), WebhookMember::dropped);
  EXPECT_EQ(to_json(body), R"({"a":1,"b":2,"c":""})");
  EXPECT_EQ(take_webhook_members(plain.get_object(), nullptr), WebhookMember::none);
  EXPECT_EQ(to_json(plain), R"({"a":null})");
}

TEST(WebhookGuard, LeavesWhatTheModelsSchemaDeclares) {
  const auto schema =
      *Schema::compile(parse_json(R"({"properties":{"webhook":{}}})")->get_object());
  json::value body = *parse_json(R"({"webhook":"","callback":""})");

  EXPECT_EQ(take_webhook_members(body.get_object(), schema.get()), WebhookMember::dropped);
  EXPECT_EQ(to_json(body), R"({"webhook":""})");
}

TEST(WebhookGuard, SeesNamesAfterDecodingAndAtTheTopOnly) {
  EXPECT_TRUE(has_webhook(R"({"webhook\u005furl":"x"})"));
  EXPECT_TRUE(has_webhook(R"({"\u0077ebhook":1})"));
  EXPECT_TRUE(has_webhook(R"({"webhook":null,"callback":"","webhooks":[]})"));
  EXPECT_TRUE(has_webhook(R"({"a":1,"notify_url":[]})"));
  EXPECT_FALSE(has_webhook(R"({"a":{"webhook_url":"x"}})"));
  EXPECT_FALSE(has_webhook(R"({"webhook_url":null,"callback":""})"));
  EXPECT_FALSE(has_webhook(R"({"Webhook_Url":"x","webhook_urls":"x"})"));
}

TEST(UploadLinks, OpenOnlyWhatTheyMadeAndOnlyInTime) {
  SeededRandom random(1);
  const ManualClock clock;
  const UploadLinks links("", random);
  const UploadLinks others("", random);
  const WallTime now = clock.now().wall;
  const std::string token = links.make_token(random, now + std::chrono::hours(1));

  EXPECT_TRUE(links.open(token, now));
  EXPECT_FALSE(links.open(token, now + std::chrono::hours(1)));
  EXPECT_FALSE(others.open(token, now));
  for (std::size_t i = 0; i < token.size(); ++i) {
    std::string changed = token;
    changed[i] = changed[i] == '0' ? '1' : '0';
    EXPECT_FALSE(links.open(changed, now)) << i;
  }
  EXPECT_FALSE(links.open("", now));
  EXPECT_FALSE(links.open(token + "0", now));
}

TEST(UploadLinks, HideTheTokenBehindTheFilesKey) {
  SeededRandom random(1);
  const UploadLinks links("secret", random);
  const std::string key = links.file_key("name");
  EXPECT_EQ(key.size(), 32U);
  EXPECT_NE(key, links.file_key("name", 1));
  EXPECT_EQ(key, links.file_key("name"));
}

struct Parsed {
  std::string name = "none";
  std::string bytes;
  bool ok = true;
  bool complete = false;
};

Parsed parse(std::string_view body, std::size_t piece) {
  Parsed parsed;
  MultipartReader reader("XX", "file",
                         {[&](std::string name) {
                            parsed.name = std::move(name);
                            return Result<void>();
                          },
                          [&](std::string_view bytes) {
                            parsed.bytes += bytes;
                            return Result<void>();
                          }});
  while (!body.empty() && parsed.ok) {
    parsed.ok = reader.feed(body.substr(0, piece)).has_value();
    body.remove_prefix(std::min(piece, body.size()));
  }
  parsed.complete = reader.is_complete();
  return parsed;
}

TEST(Multipart, FindsTheFieldInPiecesOfAnySize) {
  const std::string body =
      "preamble\r\n--XX\r\nContent-Disposition: form-data; name=a\r\n\r\nno\r\n--XX  \r\n"
      "content-disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\".txt\"\r\n\r\n"
      "one\r\n--X\r\n--XY two\r\n--XX\r\nContent-Disposition: form-data; name=file\r\n\r\nlate\r\n"
      "--XX--\r\nepilogue";
  for (std::size_t piece = 1; piece <= body.size(); ++piece) {
    const Parsed parsed = parse(body, piece);
    EXPECT_TRUE(parsed.ok && parsed.complete) << piece;
    EXPECT_EQ(parsed.name, "a \"b\".txt") << piece;
    EXPECT_EQ(parsed.bytes, "one\r\n--X\r\n--XY two") << piece;
  }
}

TEST(Multipart, TakesEmptyFilesAndPartsWithoutAHead) {
  const Parsed parsed = parse(
      "--XX\r\n\r\nx\r\n--XX\r\nContent-Disposition: form-data; name=file\r\n\r\n\r\n--XX--", 3);
  EXPECT_TRUE(parsed.ok && parsed.complete);
  EXPECT_EQ(parsed.name, "");
  EXPECT_EQ(parsed.bytes, "");
}

TEST(Multipart, RefusesEndlessHeadsAndPreambles) {
  EXPECT_FALSE(parse(std::string(40'000, 'x'), 1000).ok);
  EXPECT_FALSE(parse("--XX\r\n" + std::string(40'000, 'x'), 1000).ok);
  EXPECT_FALSE(parse("--XXY\r\n", 1000).ok);
}

TEST(Multipart, RefusesMoreThanItsShareBesideTheFile) {
  const std::string file =
      "\r\n--XX\r\nContent-Disposition: form-data; name=file\r\n\r\n" + std::string(200'000, 'x');
  const std::string end = "\r\n--XX--";
  std::string parts;
  while (parts.size() < 32 * 1024) parts += "\r\n--XX\r\n\r\n";
  const std::string other =
      "\r\n--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n" + std::string(70'000, 'y');
  for (const std::size_t piece : {1'000UL, 1'000'000UL}) {
    EXPECT_TRUE(parse(parts + file + end, piece).complete) << piece;
    EXPECT_FALSE(parse(parts + file + parts + end, piece).ok) << piece;
    EXPECT_FALSE(parse(other + file + end, piece).ok) << piece;
  }
}

TEST(Multipart, SaysWhatIsTooMuchBesideTheFile) {
  MultipartReader reader("XX", "file",
                         {[](std::string) { return Result<void>(); },
                          [](std::string_view) { return Result<void>(); }});
  const auto fed = reader.feed("--XX\r\n\r\n" + std::string(70'000, 'y'));
  ASSERT_FALSE(fed);
  EXPECT_EQ(fed.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(fed.error().message,
            "The multipart body holds more than 64 KiB beside the field \"file\"");
}

// Thousands of empty parts and a large file in one piece: to move the rest for each part would be 400 GB.
TEST(Multipart, LeavesWhatIsUnreadInItsPlace) {
  std::string body;
  while (body.size() < 60'000) body += "\r\n--XX\r\n\r\n";
  body += "\r\n--XX\r\nContent-Disposition: form-data; name=file\r\n\r\n";
  body += std::string(64'000'000, 'x') + "\r\n--XX--";
  const auto began = std::chrono::steady_clock::now();
  EXPECT_TRUE(parse(body, body.size()).complete);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5));
}

TEST(Multipart, TakesTheNameThatSaysItsCharset) {
  const auto name = [](std::string_view disposition) { return disposition_file_name(disposition); };
  EXPECT_EQ(name("form-data; name=file; filename=\"_.png\"; filename*=UTF-8''%C3%A4%20b.png"),
            "\xC3\xA4 b.png");
  EXPECT_EQ(name("attachment; filename*=utf-8'de'a%22b; filename=other"), "a\"b");
  for (const char* bad : {"filename*=x", "filename*=iso-8859-1''%E4", "filename*=UTF-8''%FF",
                          "filename*=UTF-8''%zz", "filename*=UTF-8''", "filename*=UTF-8'x"})
    EXPECT_EQ(name("attachment; filename=plain; " + std::string(bad)), "plain") << bad;
  EXPECT_EQ(name("attachment"), "");
}

TEST(Multipart, KeepsBackslashesThatEscapeNothing) {
  EXPECT_EQ(header_parameter(R"(a; filename="C:\new\\b\"c.txt")", "filename"), R"(C:\new\b"c.txt)");
  EXPECT_EQ(header_parameter(R"(a; filename="end\)", "filename"), R"(end\)");
}

TEST(Multipart, ReadsTheBoundary) {
  EXPECT_EQ(multipart_boundary("multipart/form-data; boundary=abc"), "abc");
  EXPECT_EQ(multipart_boundary("Multipart/Form-Data; charset=x; boundary=\"a b\""), "a b");
  EXPECT_EQ(multipart_boundary("multipart/form-data"), std::nullopt);
  EXPECT_EQ(multipart_boundary("multipart/mixed; boundary=abc"), std::nullopt);
  EXPECT_EQ(multipart_boundary("image/png"), std::nullopt);
}

}  // namespace
}  // namespace quern::api
