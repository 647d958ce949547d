#include "runner/url_fetch.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <stdlib.h>

#include <fstream>
#include <thread>

#include "artifact/file_descriptor.h"
#include "testing/path_server.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

using namespace std::chrono_literals;

class UrlFetch : public testing::Test {
 protected:
  Result<std::uint64_t> fetch(const std::string& url, std::stop_token stop = {}) {
    const FileDescriptor file(
        ::open(path().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    return fetch_url(url, file.get(), options_, std::move(stop));
  }

  /// "code message" of a fetch that must fail.
  std::string failure(const std::string& url) {
    const auto fetched = fetch(url);
    if (fetched) return "fetched";
    const bool is_fault = fetched.error().code == ErrorCode::invalid_argument;
    const bool may_pass = fetched.error().code == ErrorCode::unavailable;
    return (is_fault ? "fault: " : may_pass ? "passing: " : "other: ") + fetched.error().message;
  }

  [[nodiscard]] std::string content() const {
    std::ifstream file(path(), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  [[nodiscard]] std::filesystem::path path() const { return temp_.path() / "file"; }

  TempFolder temp_;
  PathServer server_;
  UrlFetchOptions options_{.address_rule = &is_any_address};
};

constexpr const char* kNotPublic = "fault: the address is not public";

TEST_F(UrlFetch, StreamsTheBodyIntoTheFile) {
  const std::string body(300'000, 'x');
  server_.answer("/a", http_answer("200 OK", body));

  const auto bytes = fetch(server_.url("/a"));

  ASSERT_TRUE(bytes) << bytes.error().message;
  EXPECT_EQ(*bytes, body.size());
  EXPECT_EQ(content(), body);
}

TEST_F(UrlFetch, SendsNothingThatCouldTellOfUs) {
  server_.answer("/a", http_answer("200 OK", "x"));
  ASSERT_TRUE(fetch(server_.url("/a")));

  const std::string head = server_.request_heads().front();
  EXPECT_NE(head.find("User-Agent: quern\r\n"), std::string::npos);
  for (const char* header : {"Authorization", "Cookie", "Referer", "Accept-Encoding"}) {
    EXPECT_EQ(head.find(header), std::string::npos) << head;
  }
}

TEST_F(UrlFetch, FollowsRedirectsUpToItsLimit) {
  server_.answer("/end", http_answer("200 OK", "found"));
  for (int hop = 0; hop < 6; ++hop) {
    const std::string next = hop == 0 ? "/end" : "/" + std::to_string(hop - 1);
    server_.answer("/" + std::to_string(hop), http_redirect(server_.url(next)));
  }
  server_.answer("/loop", http_redirect("/loop"));

  EXPECT_TRUE(fetch(server_.url("/4")));
  EXPECT_EQ(content(), "found");
  EXPECT_EQ(failure(server_.url("/5")), "fault: more than 5 redirects");
  EXPECT_EQ(failure(server_.url("/loop")), "fault: more than 5 redirects");
}

TEST_F(UrlFetch, RedirectsToOtherSchemesAreRefused) {
  std::ofstream(temp_.path() / "secret") << "secret";
  server_.answer("/file", http_redirect("file://" + (temp_.path() / "secret").string()));
  server_.answer("/gopher", http_redirect("gopher://127.0.0.1/_x"));
  server_.answer("/ftp", http_redirect("ftp://127.0.0.1/x"));
  for (const char* path : {"/file", "/gopher", "/ftp"}) {
    EXPECT_EQ(failure(server_.url(path)), "fault: what answers there is not http or https") << path;
    EXPECT_EQ(content(), "");
  }
}

/// Of the loopback network, the test's server stands for the internet, and its neighbour for the
/// inside.
bool allows_only_the_test_server(const sockaddr& address) {
  const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
  return address.sa_family == AF_INET && v4.sin_addr.s_addr == htonl(INADDR_LOOPBACK);
}

TEST_F(UrlFetch, ARedirectFromAnAllowedToAForbiddenAddressIsRefused) {
  PathServer inside("127.0.0.2");
  inside.answer("/secret", http_answer("200 OK", "secret"));
  server_.answer("/a", http_redirect(inside.url("/secret")));
  server_.answer("/b", http_redirect("//[::1]/"));
  options_.address_rule = &allows_only_the_test_server;

  EXPECT_EQ(failure(server_.url("/a")), kNotPublic);
  EXPECT_EQ(failure(server_.url("/b")), kNotPublic);
  EXPECT_TRUE(inside.request_heads().empty());
  EXPECT_EQ(content(), "");
}

TEST_F(UrlFetch, RefusesEverySpellingOfAPrivateAddressByDefault) {
  server_.answer("/", http_answer("200 OK", "secret"));
  options_ = {};
  const std::string port = std::to_string(server_.port());
  for (const std::string host : {"127.0.0.1",
                                 "localhost",
                                 "127.1",
                                 "0.0.0.0",
                                 "0",
                                 "2130706433",
                                 "0x7f000001",
                                 "017700000001",
                                 "0x7f.1",
                                 "0177.0.0.1",
                                 "[::1]",
                                 "[::]",
                                 "[::ffff:127.0.0.1]",
                                 "[::ffff:7f00:1]",
                                 "[64:ff9b::7f00:1]",
                                 "[2002:7f00:1::]",
                                 "127.0.0.1.",
                                 "LOCALHOST",
                                 "10.0.0.1",
                                 "192.168.0.1",
                                 "169.254.169.254",
                                 "[fd00:ec2::254]",
                                 "[fe80::1]",
                                 "\xef\xbc\x91\x32\x37.0.0.1"}) {
    const std::string seen = failure("http://" + host + ":" + port + "/");
    const bool is_unknown_name = seen == "passing: the host name does not resolve";
    EXPECT_TRUE(seen == kNotPublic || is_unknown_name || seen.starts_with("fault: malformed"))
        << host << ": " << seen;
  }
  EXPECT_EQ(failure("http://127.0.0.1:" + port + "/"), kNotPublic);
  EXPECT_EQ(failure("https://[::1]:" + port + "/"), kNotPublic);
  EXPECT_TRUE(server_.request_heads().empty());
}

TEST_F(UrlFetch, SaysTheSameOfAForbiddenAddressWhetherOrNotSomethingListens) {
  options_ = {};
  EXPECT_EQ(failure("http://127.0.0.1:1/"), failure(server_.url("/")));
}

TEST_F(UrlFetch, UsesNoProxyOfTheEnvironment) {
  server_.answer("/a", http_answer("200 OK", "direct"));
  ::setenv("http_proxy", "http://127.0.0.1:1", 1);
  ::setenv("ALL_PROXY", "http://127.0.0.1:1", 1);

  const auto fetched = fetch(server_.url("/a"));

  ::unsetenv("http_proxy");
  ::unsetenv("ALL_PROXY");
  EXPECT_TRUE(fetched);
}

TEST_F(UrlFetch, RefusesWhatIsNotAPlainWebAddress) {
  const std::string malformed = "fault: malformed URL, or not http or https";
  for (const std::string url :
       {"", "x", "ftp://127.0.0.1/", "file:///etc/passwd", "/etc/passwd", "http://", "https:/x",
        "http://127.0.0.1:99999/", "http://a b/", "gopher://127.0.0.1/", "dict://127.0.0.1/"}) {
    EXPECT_EQ(failure(url), malformed) << url;
  }
  EXPECT_EQ(failure(std::string("http://127.0.0.1/\0x", 19)), malformed);
  EXPECT_EQ(failure("http://user:secret@127.0.0.1/"), "fault: the URL holds a user name");
  EXPECT_EQ(failure("http://" + std::string(9000, 'a')),
            "fault: the URL is longer than 8192 bytes");
}

TEST_F(UrlFetch, TellsFaultsFromPassingTrouble) {
  for (const char* status :
       {"400 x", "401 x", "404 x", "410 x", "300 x", "500 x", "503 x", "429 x", "418 teapot"}) {
    server_.answer("/" + std::string(status, 3), http_answer(status, "an error page"));
  }
  EXPECT_EQ(failure(server_.url("/404")), "fault: HTTP 404 Not Found");
  EXPECT_EQ(failure(server_.url("/400")), "fault: HTTP 400 Bad Request");
  EXPECT_EQ(failure(server_.url("/300")), "fault: HTTP 300");
  EXPECT_EQ(failure(server_.url("/418")), "fault: HTTP 418");
  EXPECT_EQ(failure(server_.url("/500")), "passing: HTTP 500 Internal Server Error");
  EXPECT_EQ(failure(server_.url("/503")), "passing: HTTP 503 Service Unavailable");
  EXPECT_EQ(failure(server_.url("/429")), "passing: HTTP 429 Too Many Requests");
  EXPECT_EQ(content(), "") << "no error page is kept";
}

TEST_F(UrlFetch, NoConnectionIsPassingTrouble) {
  std::string url;
  {
    const PathServer gone;
    url = gone.url("/");
  }
  EXPECT_EQ(failure(url), "passing: no connection");
}

TEST_F(UrlFetch, AnAnswerCutShortIsPassingTrouble) {
  server_.answer("/a", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
  EXPECT_TRUE(failure(server_.url("/a")).starts_with("passing: ")) << failure(server_.url("/a"));
}

TEST_F(UrlFetch, AnAnswerThatIsNoHttpIsAFault) {
  server_.answer("/a", "nonsense\r\n\r\n");
  EXPECT_EQ(failure(server_.url("/a")), "fault: what answers there is not http or https");
}

TEST_F(UrlFetch, EndsAtTheSizeLimitWhetherTheLengthIsToldOrNot) {
  options_.bytes_max = 1000;
  server_.answer("/told", http_answer("200 OK", std::string(1001, 'x')));
  server_.answer("/untold",
                 "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + std::string(5000, 'x'));
  server_.answer("/chunked",
                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "3e8\r\n" +
                     std::string(1000, 'x') + "\r\n1\r\nx\r\n0\r\n\r\n");
  server_.answer("/exact", http_answer("200 OK", std::string(1000, 'x')));

  for (const char* path : {"/told", "/untold", "/chunked"}) {
    const auto fetched = fetch(server_.url(path));
    ASSERT_FALSE(fetched) << path;
    EXPECT_EQ(fetched.error().code, ErrorCode::too_large) << path;
    EXPECT_EQ(fetched.error().message, "the file is larger than 1000 B") << path;
    EXPECT_LE(content().size(), 1000U);
  }
  EXPECT_TRUE(fetch(server_.url("/exact")));
}

// The head of an answer whose body is said to be larger than any file may be, and never comes.
std::string huge_answer(std::string_view status, std::string_view more = "") {
  return "HTTP/1.1 " + std::string(status) + "\r\nContent-Length: 1000000000000\r\n" +
         std::string(more) + "\r\nthe beginning";
}

TEST_F(UrlFetch, JudgesAnErrorPageByItsStatusHoweverLargeItIs) {
  server_.hang("/404", huge_answer("404 x"));
  server_.hang("/503", huge_answer("503 x"));

  EXPECT_EQ(failure(server_.url("/404")), "fault: HTTP 404 Not Found");
  EXPECT_EQ(failure(server_.url("/503")), "passing: HTTP 503 Service Unavailable");
}

TEST_F(UrlFetch, FollowsARedirectHoweverLargeItsPageIs) {
  server_.answer("/end", http_answer("200 OK", "found"));
  server_.hang(
      "/a", huge_answer("302 x", "Connection: close\r\nLocation: " + server_.url("/end") + "\r\n"));

  EXPECT_EQ(failure(server_.url("/a")), "fetched");
  EXPECT_EQ(content(), "found");
}

TEST_F(UrlFetch, EndsAtOnceIfTheLengthThatIsToldIsTooLarge) {
  server_.hang("/a", huge_answer("200 OK"));

  const auto fetched = fetch(server_.url("/a"));

  ASSERT_FALSE(fetched);
  EXPECT_EQ(fetched.error().code, ErrorCode::too_large);
  EXPECT_EQ(content(), "");
}

TEST_F(UrlFetch, EndsAServerThatNeverAnswers) {
  server_.hang("/silent");
  options_.timeout = 50ms;
  EXPECT_EQ(failure(server_.url("/silent")), "passing: timeout");
}

TEST_F(UrlFetch, EndsAServerThatFallsSilent) {
  server_.hang("/half", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
  options_.idle_timeout = 50ms;
  options_.timeout = 1h;
  EXPECT_EQ(failure(server_.url("/half")), "passing: timeout");
}

TEST_F(UrlFetch, StopsWhenAskedTo) {
  server_.hang("/silent");
  options_.timeout = 1h;
  options_.idle_timeout = 1h;
  std::stop_source stop;
  const std::jthread stopper([&] {
    server_.wait_for_request();
    stop.request_stop();
  });

  const auto fetched = fetch(server_.url("/silent"), stop.get_token());

  ASSERT_FALSE(fetched);
  EXPECT_EQ(fetched.error().message, "stopped");
}

TEST_F(UrlFetch, AFullDiskIsNotTheCallersFault) {
  server_.answer("/a", http_answer("200 OK", "x"));
  const FileDescriptor full(::open("/dev/full", O_WRONLY | O_CLOEXEC));

  const auto fetched = fetch_url(server_.url("/a"), full.get(), options_, {});

  ASSERT_FALSE(fetched);
  EXPECT_EQ(fetched.error().code, ErrorCode::unavailable);
  EXPECT_NE(fetched.error().message.find("the disk is full"), std::string::npos);
}

TEST_F(UrlFetch, ManyAtOnceDoNotDisturbEachOther) {
  server_.answer("/a", http_answer("200 OK", std::string(1000, 'a')));
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([this] {
      for (int round = 0; round < 10; ++round) {
        const FileDescriptor null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
        EXPECT_EQ(fetch_url(server_.url("/a"), null.get(), options_, {}).value_or(0), 1000U);
      }
    });
  }
}

TEST(IsHttpUrl, KnowsTheTwoSchemesInAnyCase) {
  EXPECT_TRUE(is_http_url("http://x"));
  EXPECT_TRUE(is_http_url("HTTPS://x"));
  for (const char* text : {"http://", "https:/x", "httpx://x", " http://x", "ftp://x", ""}) {
    EXPECT_FALSE(is_http_url(text)) << text;
  }
}

}  // namespace
}  // namespace quern
