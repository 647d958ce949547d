#include "http/socket_transport.h"

#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

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

std::string local_address_of(int socket) {
  asio::ip::tcp::endpoint local;
  auto length = static_cast<socklen_t>(local.capacity());
  if (::getsockname(socket, local.data(), &length) != 0) return {};
  asio::ip::address address = local.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  if (address.is_v4()) return address.to_string() + ":" + std::to_string(local.port());
  auto plain = address.to_v6();
  plain.scope_id(0);  // which has no place in a URL
  return "[" + plain.to_string() + "]:" + std::to_string(local.port());
}

/// Asks its socket when the set says so, and no more often: a read that does not fill its memory has, as a rule, emptied
/// the socket.
class TcpTransport final : public Transport, private ReadySet::Member {
 public:
  TcpTransport(FileHandle socket, ReadySet& sockets)
      : socket_(std::move(socket)), sockets_(sockets) {}
  ~TcpTransport() override { close(); }

  [[nodiscard]] bool enter_set() { return sockets_.add(socket_.fd(), *this); }

  [[nodiscard]] bool is_tls() const override { return false; }
  [[nodiscard]] std::string local_address() override { return local_address_of(socket_.fd()); }
  void handshake() override {
    later([](Connection& owner) { owner.on_handshake(true); });
  }
  void read(std::span<char> into) override {
    into_ = into;
    if (is_readable_) later([this](Connection&) { receive(); });
  }
  void read_raw(std::span<char> into) override { read(into); }
  std::size_t try_write(std::string_view bytes) override {
    const ssize_t written = ::send(socket_.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (written < 0) return 0;  // an error that lasts comes again from write()
    return static_cast<std::size_t>(written);
  }
  void write(std::string_view bytes) override {
    from_ = bytes;
    later([this](Connection&) { send(); });
  }
  void shutdown() override {
    ::shutdown(socket_.fd(), SHUT_WR);
    later([](Connection& owner) { owner.on_shutdown(); });
  }
  void close() override {
    if (!socket_.is_open()) return;
    sockets_.remove(socket_.fd(), *this);
    socket_ = FileHandle();
    into_ = {};
    from_ = {};
  }

 private:
  void on_ready(std::uint32_t events) override {
    const auto keep = owner_->shared_from_this();
    // An end is told once, maybe before the last bytes were read; a read stops short at urgent data.
    asks_on_ |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) != 0;
    is_readable_ |= asks_on_ || (events & EPOLLIN) != 0;
    if (is_readable_) receive();
    send();
  }

  void receive() {
    if (into_.empty()) return;
    const ssize_t received = ::recv(socket_.fd(), into_.data(), into_.size(), 0);
    if (received < 0 && errno == EAGAIN) {
      is_readable_ = false;
      return;
    }
    is_readable_ = asks_on_ || received == std::ssize(into_);
    into_ = {};
    if (received > 0) return owner_->on_read(static_cast<std::size_t>(received), ReadOutcome::data);
    owner_->on_read(0, received == 0 ? ReadOutcome::ended : ReadOutcome::failed);
  }

  void send() {
    if (from_.empty()) return;
    const ssize_t sent = ::send(socket_.fd(), from_.data(), from_.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) return;
    from_ = {};
    owner_->on_written(static_cast<std::size_t>(std::max<ssize_t>(sent, 0)), sent > 0);
  }

  template <typename Work>
  void later(Work work) {
    asio::post(sockets_.executor(), [keep = owner_->shared_from_this(), work] { work(*keep); });
  }

  FileHandle socket_;
  ReadySet& sockets_;
  std::span<char> into_;   // of the read under way
  std::string_view from_;  // of the write under way
  bool is_readable_ = false;
  bool asks_on_ = false;  // whatever a read brings, there may be more
};

/// Each handler holds its connection, which owns the transport.
class TlsTransport final : public Transport {
 public:
  TlsTransport(TcpSocket socket, TlsContext& context) : stream_(std::move(socket), context) {}

  [[nodiscard]] bool is_tls() const override { return true; }
  [[nodiscard]] std::string local_address() override {
    return local_address_of(stream_.next_layer().native_handle());
  }
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

std::unique_ptr<Transport> make_tcp_transport(FileHandle socket, ReadySet& sockets) {
  auto transport = std::make_unique<TcpTransport>(std::move(socket), sockets);
  if (!transport->enter_set()) return nullptr;
  return transport;
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
  // Without one, OpenSSL asks the terminal for an encrypted key's password, and waits.
  context->set_password_callback([](auto...) { return std::string(); }, error);
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
