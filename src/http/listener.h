#pragma once
// Takes connections in: one listener on each I/O thread. Private to this module's .cc files.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/io_thread.h"
#include "http/server_state.h"
#include "http/socket_transport.h"

namespace quern::http {

using TcpEndpoint = boost::asio::ip::tcp::endpoint;

/// "127.0.0.1:8080", "[::1]:0", "localhost:8080". Errors: invalid_argument (form), unavailable (no
/// such host).
Result<TcpEndpoint> resolve_listen_address(std::string_view text);
/// "http://127.0.0.1:8080", "https://[::1]:8443"
std::string make_url(const TcpEndpoint& endpoint, bool is_tls);

/// Concurrency: open() before the thread runs, the rest on it.
/// Limits: options.connections_max over all listeners of the server.
class Listener {
 public:
  Listener(std::shared_ptr<IoThread> io, std::shared_ptr<ServerState> state,
           std::shared_ptr<TlsContext> tls);

  /// Binds and listens. The first listener of a server finds out whether the port is free; the
  /// kernel spreads connections over it and those that share its port. Errors: unavailable.
  Result<void> open(const TcpEndpoint& endpoint, bool shares_port);
  [[nodiscard]] TcpEndpoint local_endpoint() const;

  /// For connections from now on.
  void set_tls(std::shared_ptr<TlsContext> tls) { tls_ = std::move(tls); }
  void start();
  /// Takes what the kernel has accepted already, then closes.
  void stop();

 private:
  void accept();
  void on_accept(boost::system::error_code error, TcpSocket socket);
  void count_failure(std::string_view reason);
  void pause();
  [[nodiscard]] bool try_serve(TcpSocket socket);
  void serve(TcpSocket socket);

  std::shared_ptr<IoThread> io_;
  std::shared_ptr<ServerState> state_;
  std::shared_ptr<TlsContext> tls_;
  TcpAcceptor acceptor_;
  IoThread::Timer pause_;
  bool is_failing_ = false;
};

}  // namespace quern::http
