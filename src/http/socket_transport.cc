#include "http/socket_transport.h"

#include <openssl/ssl.h>

#include "http/asio_ssl.h"
#include "http/connection.h"

namespace quern::http {
namespace {

namespace asio = boost::asio;
using IoError = boost::system::error_code;

asio::mutable_buffer buffer(std::span<char> bytes) { return {bytes.data(), bytes.size()}; }
asio::const_buffer buffer(std::string_view bytes) { return {bytes.data(), bytes.size()}; }

ReadOutcome outcome_of(const IoError& error) {
  if (!error) return ReadOutcome::data;
  // A peer that ends TCP without ending TLS may have been cut off; requests say their length, so
  // that is told.
  const bool ended = error == asio::error::eof || error == asio::ssl::error::stream_truncated;
  return ended ? ReadOutcome::ended : ReadOutcome::failed;
}

/// Each handler holds its connection, which owns the transport.
class TcpTransport final : public Transport {
 public:
  explicit TcpTransport(TcpSocket socket) : socket_(std::move(socket)) {}

  [[nodiscard]] bool is_tls() const override { return false; }
  void handshake() override {
    asio::post(socket_.get_executor(),
               [keep = owner_->shared_from_this()] { keep->on_handshake(true); });
  }
  void read(std::span<char> into) override {
    socket_.async_read_some(buffer(into),
                            [keep = owner_->shared_from_this()](IoError error, std::size_t bytes) {
                              keep->on_read(bytes, outcome_of(error));
                            });
  }
  void read_raw(std::span<char> into) override { read(into); }
  std::size_t try_write(std::string_view bytes) override {
    IoError error;  // one that lasts comes again from write()
    return socket_.write_some(buffer(bytes), error);
  }
  void write(std::string_view bytes) override {
    socket_.async_write_some(
        buffer(bytes), [keep = owner_->shared_from_this()](IoError error, std::size_t written) {
          keep->on_written(written, !error);
        });
  }
  void shutdown() override {
    IoError ignored;
    socket_.shutdown(TcpSocket::shutdown_send, ignored);
    asio::post(socket_.get_executor(),
               [keep = owner_->shared_from_this()] { keep->on_shutdown(); });
  }
  void close() override {
    IoError ignored;
    socket_.close(ignored);
  }

 private:
  TcpSocket socket_;
};

class TlsTransport final : public Transport {
 public:
  TlsTransport(TcpSocket socket, TlsContext& context) : stream_(std::move(socket), context) {}

  [[nodiscard]] bool is_tls() const override { return true; }
  void handshake() override {
    stream_.async_handshake(
        asio::ssl::stream_base::server,
        [keep = owner_->shared_from_this()](IoError error) { keep->on_handshake(!error); });
  }
  void read(std::span<char> into) override {
    stream_.async_read_some(buffer(into),
                            [keep = owner_->shared_from_this()](IoError error, std::size_t bytes) {
                              keep->on_read(bytes, outcome_of(error));
                            });
  }
  void read_raw(std::span<char> into) override {
    stream_.next_layer().async_read_some(
        buffer(into), [keep = owner_->shared_from_this()](IoError error, std::size_t bytes) {
          keep->on_read(bytes, outcome_of(error));
        });
  }
  /// A record that was begun must be finished, so there is no trying.
  std::size_t try_write(std::string_view) override { return 0; }
  void write(std::string_view bytes) override {
    stream_.async_write_some(
        buffer(bytes), [keep = owner_->shared_from_this()](IoError error, std::size_t written) {
          keep->on_written(written, !error);
        });
  }
  /// Our close_notify goes out with it; the peer's own may come or not.
  void shutdown() override {
    stream_.async_shutdown([this, keep = owner_->shared_from_this()](IoError) {
      IoError ignored;
      stream_.next_layer().shutdown(TcpSocket::shutdown_send, ignored);
      keep->on_shutdown();
    });
  }
  void close() override {
    IoError ignored;
    stream_.next_layer().close(ignored);
  }

 private:
  asio::ssl::stream<TcpSocket> stream_;
};

/// ALPN (RFC 7301): HTTP/1.1 if the client offers it; else the handshake goes on without a choice.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* chosen_length,
                    const unsigned char* offered, unsigned offered_length, void*) {
  static constexpr unsigned char kOurs[] = "\x08http/1.1";
  unsigned char* match = nullptr;
  const int result = ::SSL_select_next_proto(&match, chosen_length, kOurs, sizeof(kOurs) - 1,
                                             offered, offered_length);
  *chosen = match;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

std::unexpected<Error> bad_file(std::string_view what, const std::filesystem::path& path,
                                const std::string& why) {
  return fail(ErrorCode::invalid_argument, std::string(what) + " " + path.string() + ": " + why);
}

// OpenSSL would wait at a fifo for somebody who writes to it.
bool is_special_file(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored) && !std::filesystem::is_regular_file(path, ignored);
}

}  // namespace

std::unique_ptr<Transport> make_tcp_transport(TcpSocket socket) {
  return std::make_unique<TcpTransport>(std::move(socket));
}

std::unique_ptr<Transport> make_tls_transport(TcpSocket socket, TlsContext& context) {
  return std::make_unique<TlsTransport>(std::move(socket), context);
}

Result<void> check_tls_files(const TlsFiles& files) {
  auto context = make_tls_context(files);
  if (!context) return fail(std::move(context));
  return {};
}

Result<std::shared_ptr<TlsContext>> make_tls_context(const TlsFiles& files) {
  constexpr std::string_view kCert = "TLS certificate";
  constexpr std::string_view kKey = "TLS private key";
  if (is_special_file(files.cert)) return bad_file(kCert, files.cert, "is no regular file");
  if (is_special_file(files.key)) return bad_file(kKey, files.key, "is no regular file");
  auto context = std::make_shared<TlsContext>(TlsContext::tls_server);
  ::SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  ::SSL_CTX_set_mode(context->native_handle(), SSL_MODE_RELEASE_BUFFERS);
  ::SSL_CTX_set_alpn_select_cb(context->native_handle(), choose_protocol, nullptr);
  IoError error;
  context->use_certificate_chain_file(files.cert.string(), error);
  if (error) return bad_file(kCert, files.cert, error.message());
  context->use_private_key_file(files.key.string(), TlsContext::pem, error);
  if (error) return bad_file(kKey, files.key, error.message());
  if (::SSL_CTX_check_private_key(context->native_handle()) != 1) {
    return fail(ErrorCode::invalid_argument, "TLS private key " + files.key.string() +
                                                 " does not belong to the certificate " +
                                                 files.cert.string());
  }
  return context;
}

}  // namespace quern::http
