#pragma once
// For tests: a client of a server behind TLS.

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <string_view>

#include "http/raw_client.h"

namespace quern::http {

/// A TLS session over a RawClient's socket. It takes any certificate.
class TlsClient {
 public:
  TlsClient(std::uint16_t port, int version_max = 0)
      : socket_(port),
        context_(::SSL_CTX_new(::TLS_client_method()), &::SSL_CTX_free),
        ssl_(::SSL_new(context_.get()), &::SSL_free) {
    if (version_max != 0) ::SSL_set_max_proto_version(ssl_.get(), version_max);
    static constexpr unsigned char kProtocols[] = "\x02h2\x08http/1.1";
    ::SSL_set_alpn_protos(ssl_.get(), kProtocols, sizeof kProtocols - 1);
    ::SSL_set_fd(ssl_.get(), socket_.fd());
    connected_ = ::SSL_connect(ssl_.get()) == 1;
  }

  [[nodiscard]] bool is_connected() const { return connected_; }
  /// The server's public key; "" without a session.
  [[nodiscard]] std::string server_key() const {
    const std::unique_ptr<X509, decltype(&::X509_free)> cert(
        ::SSL_get1_peer_certificate(ssl_.get()), &::X509_free);
    if (!cert) return "";
    const ASN1_BIT_STRING* key = ::X509_get0_pubkey_bitstr(cert.get());
    return {reinterpret_cast<const char*>(key->data), static_cast<std::size_t>(key->length)};
  }
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
  std::unique_ptr<SSL_CTX, decltype(&::SSL_CTX_free)> context_;
  std::unique_ptr<SSL, decltype(&::SSL_free)> ssl_;
  bool connected_ = false;
};

}  // namespace quern::http
