// The same server behind TLS, with a certificate made on the spot.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

#include <fstream>
#include <memory>

#include "http/raw_client.h"
#include "testing/certificate.h"
#include "testing/temp_folder.h"

namespace quern::http {
namespace {

using std::chrono::milliseconds;

struct Free {
  void operator()(SSL_CTX* context) const { ::SSL_CTX_free(context); }
  void operator()(SSL* ssl) const { ::SSL_free(ssl); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

/// A TLS session over a RawClient's socket.
class TlsClient {
 public:
  TlsClient(std::uint16_t port, int version_max = 0)
      : socket_(port),
        context_(::SSL_CTX_new(::TLS_client_method())),
        ssl_(::SSL_new(context_.get())) {
    if (version_max != 0) ::SSL_set_max_proto_version(ssl_.get(), version_max);
    static constexpr unsigned char kProtocols[] = "\x02h2\x08http/1.1";
    ::SSL_set_alpn_protos(ssl_.get(), kProtocols, sizeof kProtocols - 1);
    ::SSL_set_fd(ssl_.get(), socket_.fd());
    connected_ = ::SSL_connect(ssl_.get()) == 1;
  }

  [[nodiscard]] bool is_connected() const { return connected_; }
  [[nodiscard]] int version() const { return ::SSL_version(ssl_.get()); }
  [[nodiscard]] std::string protocol() const {
    const unsigned char* name = nullptr;
    unsigned length = 0;
    ::SSL_get0_alpn_selected(ssl_.get(), &name, &length);
    return {reinterpret_cast<const char*>(name), length};
  }
  void send(std::string_view bytes) {
    ::SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
  }
  std::string read_bytes(std::size_t bytes) {
    std::string read(bytes, '\0');
    std::size_t filled = 0;
    while (filled < bytes) {
      const int got =
          ::SSL_read(ssl_.get(), read.data() + filled, static_cast<int>(bytes - filled));
      if (got <= 0) break;
      filled += static_cast<std::size_t>(got);
    }
    read.resize(filled);
    return read;
  }
  std::string read_head() {
    std::string head;
    while (!head.ends_with("\r\n\r\n")) {
      const std::string byte = read_bytes(1);
      if (byte.empty()) break;
      head += byte;
    }
    return head;
  }
  /// Whether the server said in TLS that it has ended.
  bool is_ended_cleanly() {
    char byte = 0;
    const int got = ::SSL_read(ssl_.get(), &byte, 1);
    return got <= 0 && ::SSL_get_error(ssl_.get(), got) == SSL_ERROR_ZERO_RETURN;
  }

 private:
  RawClient socket_;
  Owned<SSL_CTX> context_;
  Owned<SSL> ssl_;
  bool connected_ = false;
};

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

  const TlsFiles other{.cert = folder_.path() / "c2.pem", .key = folder_.path() / "k2.pem"};
  write_certificate(other);
  const auto foreign = start({.cert = files_.cert, .key = other.key});
  ASSERT_FALSE(foreign.has_value());
  EXPECT_THAT(foreign.error().message, testing::HasSubstr("k2.pem"));
}

}  // namespace
}  // namespace quern::http
