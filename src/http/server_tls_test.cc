// The same server behind TLS, with a certificate made on the spot.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

#include <fstream>

#include "http/raw_client.h"
#include "http/tls_client.h"
#include "testing/certificate.h"
#include "testing/temp_folder.h"

namespace quern::http {
namespace {

using std::chrono::milliseconds;

class TlsServer : public testing::Test {
 protected:
  TlsServer() { write_certificate(files_); }

  ServerOptions options() const { return {.tls = files_}; }

  static void echo(Exchange exchange) {
    std::move(exchange).read_body(8 << 20, [](Exchange read, Result<void>) {
      std::string body(read.request().tls ? "tls " : "plain ");
      body += read.request().body;
      std::move(read).send(text_response(std::move(body)));
    });
  }

  TempFolder folder_;
  TlsFiles files_{.cert = folder_.path() / "cert.pem", .key = folder_.path() / "key.pem"};
};

TEST_F(TlsServer, AnswersOverTls12And13) {
  TestServer server(echo, options());
  EXPECT_THAT(server->url(), testing::StartsWith("https://127.0.0.1:"));
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsClient client(server.port(), version);
    ASSERT_TRUE(client.is_connected());
    EXPECT_EQ(client.version(), version);
    EXPECT_EQ(client.protocol(), "http/1.1");
    for (int i = 0; i < 3; ++i) {
      client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
      EXPECT_THAT(client.read_head(), testing::HasSubstr("Content-Length: 9\r\n"));
      EXPECT_EQ(client.read_bytes(9), "tls hello");
    }
  }
}

TEST_F(TlsServer, TellsWhereARequestCameToThatNamesNoHost) {
  TestServer server(
      [](Exchange exchange) {
        std::string local(exchange.request().local);
        std::move(exchange).send(text_response(std::move(local)));
      },
      options());
  TlsClient client(server.port());
  client.send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_THAT(client.read_head(), testing::HasSubstr(" 200 "));

  const std::string address = "127.0.0.1:" + std::to_string(server.port());
  EXPECT_EQ(client.read_bytes(address.size()), address);
}

TEST_F(TlsServer, TakesADeclaredBodyToItsEndBeforeTheRefusalIsRead) {
  TestServer server(ignore, options());
  TlsClient client(server.port());
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 62914560\r\n\r\n");
  const std::string piece = make_text(1 << 20);

  for (int i = 0; i < 60; ++i) client.send(piece);

  EXPECT_THAT(client.read_head(), testing::HasSubstr(" 200 "));
  EXPECT_EQ(client.read_bytes(7), "ignored");
  EXPECT_TRUE(client.is_ended_cleanly());
}

TEST_F(TlsServer, CarriesLargeBodiesBothWays) {
  TestServer server(echo, options());
  TlsClient client(server.port());
  ASSERT_TRUE(client.is_connected());
  const std::string body(3'000'000, 'b');

  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n" + body);

  EXPECT_THAT(client.read_head(), testing::HasSubstr("Content-Length: 3000004\r\n"));
  EXPECT_TRUE(client.read_bytes(3'000'004) == "tls " + body);
}

TEST_F(TlsServer, EndsInAnOrderlyWay) {
  TestServer server(echo, options());
  for (const auto* request :
       {"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "broken\r\n\r\n"}) {
    TlsClient client(server.port());
    ASSERT_TRUE(client.is_connected());
    client.send(request);
    const std::string head = client.read_head();
    EXPECT_THAT(head, testing::HasSubstr("Connection: close\r\n"));
    client.read_bytes(std::stoul(head.substr(head.find("Content-Length: ") + 16)));
    EXPECT_TRUE(client.is_ended_cleanly());
  }
}

TEST_F(TlsServer, RefusesOldVersionsAndPlainText) {
  TestServer server(echo, options());

  EXPECT_FALSE(TlsClient(server.port(), TLS1_1_VERSION).is_connected());

  RawClient plain = server.connect();
  plain.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(plain.read_to_end(), testing::Not(testing::StartsWith("HTTP")));
}

TEST_F(TlsServer, CutsOffASlowHandshake) {
  ServerOptions slow = options();
  slow.head_timeout = milliseconds(50);
  TestServer server(echo, std::move(slow));
  RawClient client = server.connect();
  client.send("\x16\x03\x01");

  EXPECT_EQ(client.read_to_end(), "");
}

TEST_F(TlsServer, StopsWithSessionsOpen) {
  TestServer server(echo, options());
  TlsClient client(server.port());
  ASSERT_TRUE(client.is_connected());
  client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  client.read_head();

  server->stop();

  EXPECT_EQ(server->connections(), 0U);
}

TEST_F(TlsServer, TakesARenewedCertificateForConnectionsFromThenOn) {
  ServerOptions one_thread = options();
  one_thread.threads = 1;
  TestServer server(echo, std::move(one_thread));
  TlsClient before(server.port());
  ASSERT_TRUE(before.is_connected());

  write_certificate(files_);
  ASSERT_TRUE(server->renew_certificate(files_));

  const std::string old_key = before.server_key();
  std::string key = old_key;
  for (int i = 0; i < 2'000 && key == old_key; ++i) key = TlsClient(server.port()).server_key();
  EXPECT_NE(key, old_key);
  before.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi");
  before.read_head();
  EXPECT_EQ(before.read_bytes(6), "tls hi");

  const TlsFiles none{.cert = folder_.path() / "none.pem", .key = files_.key};
  EXPECT_EQ(server->renew_certificate(none).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(TlsClient(server.port()).server_key(), key);
}

TEST_F(TlsServer, SaysWhichFileIsWrong) {
  Metrics metrics;
  const auto start = [&](TlsFiles files) {
    return Server({.listen = "127.0.0.1:0", .threads = 1, .tls = std::move(files)}, echo, metrics)
        .start();
  };

  const auto missing = start({.cert = folder_.path() / "none.pem", .key = files_.key});
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(missing.error().message, testing::HasSubstr("TLS certificate"));
  EXPECT_THAT(missing.error().message, testing::HasSubstr("none.pem"));

  ASSERT_EQ(::mkfifo((folder_.path() / "fifo").c_str(), 0600), 0);
  const auto fifo = start({.cert = files_.cert, .key = folder_.path() / "fifo"});
  ASSERT_FALSE(fifo.has_value());
  EXPECT_THAT(fifo.error().message, testing::HasSubstr("fifo: is no regular file"));

  const TlsFiles locked{.cert = files_.cert, .key = folder_.path() / "locked.pem"};
  write_encrypted_key(locked.key);
  const auto encrypted = start(locked);  // without a question for its password
  ASSERT_FALSE(encrypted.has_value());
  EXPECT_THAT(encrypted.error().message, testing::HasSubstr("locked.pem"));

  const TlsFiles other{.cert = folder_.path() / "c2.pem", .key = folder_.path() / "k2.pem"};
  write_certificate(other);
  const auto foreign = start({.cert = files_.cert, .key = other.key});
  ASSERT_FALSE(foreign.has_value());
  EXPECT_THAT(foreign.error().message, testing::HasSubstr("k2.pem"));
}

}  // namespace
}  // namespace quern::http
