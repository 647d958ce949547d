#include "http/listener.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <charconv>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include "base/log.h"
#include "http/connection.h"

namespace quern::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using IoError = boost::system::error_code;

constexpr int kBacklog = 4096;
/// How long accepting rests when it fails, mostly for want of a descriptor or of memory.
constexpr std::chrono::milliseconds kAcceptPause{100};

constexpr std::string_view kAddressForms = "expected host:port or [host]:port";

template <int kLevel, int kName>
using IntOption = asio::detail::socket_option::integer<kLevel, kName>;
using ReusePort = IntOption<SOL_SOCKET, SO_REUSEPORT>;
/// A peer whose machine vanished is noticed when it acknowledges nothing for so long, in
/// milliseconds.
using UserTimeout = IntOption<IPPROTO_TCP, TCP_USER_TIMEOUT>;

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return port;
}

std::string peer_ip_of(const TcpSocket& socket) {
  IoError error;
  const asio::ip::address address = socket.remote_endpoint(error).address();
  if (error) return {};
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).to_string();
  }
  return address.to_string();
}

}  // namespace

Result<ListenAddress> parse_listen_address(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  const auto port =
      colon == std::string_view::npos ? std::nullopt : parse_port(text.substr(colon + 1));
  std::string_view host = text.substr(0, colon);
  const bool has_brackets = host.starts_with('[') && host.ends_with(']');
  if (has_brackets) host = host.substr(1, host.size() - 2);
  if (!port || host.empty() || (!has_brackets && host.find(':') != std::string_view::npos)) {
    return fail(ErrorCode::invalid_argument, std::string(kAddressForms));
  }
  return ListenAddress{std::string(host), *port};
}

Result<TcpEndpoint> resolve_listen_address(std::string_view text) {
  const auto cannot = [text](ErrorCode code, const std::string& why) {
    return fail(code, "Cannot listen on '" + std::string(text) + "': " + why);
  };
  const auto parsed = parse_listen_address(text);
  if (!parsed) return cannot(parsed.error().code, parsed.error().message);
  IoError error;
  const auto address = asio::ip::make_address(parsed->host, error);
  if (!error) return TcpEndpoint(address, parsed->port);
  asio::io_context context;
  const auto found =
      tcp::resolver(context).resolve(parsed->host, std::to_string(parsed->port), error);
  if (error || found.empty()) return cannot(ErrorCode::unavailable, error.message());
  return found.begin()->endpoint();
}

std::string make_url(const TcpEndpoint& endpoint, bool is_tls) {
  const std::string host = endpoint.address().to_string();
  return std::string(is_tls ? "https://" : "http://") +
         (endpoint.address().is_v6() ? "[" + host + "]" : host) + ":" +
         std::to_string(endpoint.port());
}

Listener::Listener(std::shared_ptr<IoThread> io, std::shared_ptr<ServerState> state,
                   std::shared_ptr<TlsContext> tls)
    : io_(std::move(io)),
      state_(std::move(state)),
      tls_(std::move(tls)),
      acceptor_(io_->context()),
      pause_(io_->context()) {}

Result<void> Listener::open(const TcpEndpoint& endpoint, bool shares_port) {
  const auto write_timeout = static_cast<int>(state_->options.write_timeout.count());
  IoError error;
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(TcpAcceptor::reuse_address(true), error);
  if (!error && shares_port) acceptor_.set_option(ReusePort(1), error);
  if (!error) acceptor_.bind(endpoint, error);
  // Only after the bind, so that a port which another process shares counts as taken.
  if (!error && !shares_port) acceptor_.set_option(ReusePort(1), error);
  // Accepted sockets inherit these from the listener, which saves calls for each.
  if (!error) acceptor_.set_option(tcp::no_delay(true), error);
  if (!error) acceptor_.set_option(UserTimeout(write_timeout), error);
  if (!error) acceptor_.listen(kBacklog, error);
  if (error) {
    return fail(ErrorCode::unavailable,
                "Cannot listen on '" + state_->options.listen + "': " + error.message());
  }
  return {};
}

TcpEndpoint Listener::local_endpoint() const {
  IoError ignored;
  return acceptor_.local_endpoint(ignored);
}

void Listener::start() { accept(); }

void Listener::stop() {
  IoError error;
  acceptor_.non_blocking(true, error);
  while (!error && acceptor_.is_open()) {
    TcpSocket socket(io_->context());
    acceptor_.accept(socket, error);
    if (!error) static_cast<void>(try_serve(std::move(socket)));
  }
  acceptor_.close(error);
  pause_.cancel();
}

void Listener::accept() {
  acceptor_.async_accept(io_->context(), [this](IoError error, TcpSocket socket) {
    on_accept(error, std::move(socket));
  });
}

void Listener::on_accept(IoError error, TcpSocket socket) {
  if (!acceptor_.is_open()) return;
  const bool is_peers_doing = error == asio::error::connection_aborted;
  if (error && !is_peers_doing) {
    count_failure(error.message());
    return pause();
  }
  if (!error && !try_serve(std::move(socket))) return pause();
  accept();
}

/// Said once until a connection could be accepted again.
void Listener::count_failure(std::string_view reason) {
  state_->accept_failures.add();
  if (!std::exchange(is_failing_, true)) {
    log_warn("Cannot accept connections for now", {{"reason", reason}});
  }
}

/// The backlog keeps those who wait.
void Listener::pause() {
  pause_.expires_after(kAcceptPause);
  pause_.async_wait([this](IoError error) {
    if (!error && acceptor_.is_open()) accept();
  });
}

/// False, and the connection is closed, if it could not be served: whatever is thrown must not end the
/// accepting.
bool Listener::try_serve(TcpSocket socket) {
  try {
    serve(std::move(socket));
    is_failing_ = false;
    return true;
  } catch (const std::exception& error) {
    count_failure(error.what());
    return false;
  }
}

void Listener::serve(TcpSocket socket) {
  if (!state_->connections.try_add(state_->options.connections_max)) {
    state_->refused.add();
    return;
  }
  const auto uncount = [](ConnectionCount* count) { count->remove(); };
  // Until the connection does that itself, when it is closed.
  std::unique_ptr<ConnectionCount, decltype(uncount)> counted(&state_->connections);
  std::string peer_ip = peer_ip_of(socket);
  IoError ignored;
  socket.non_blocking(true, ignored);
  auto transport = tls_ ? make_tls_transport(std::move(socket), *tls_)
                        : make_tcp_transport(FileHandle(socket.release()), io_->sockets());
  if (!transport) {
    state_->accept_failures.add();
    return;
  }
  state_->accepted.add();
  auto connection =
      std::make_shared<Connection>(io_, state_, std::move(transport), std::move(peer_ip));
  io_->add(connection);
  counted.release();
  try {
    connection->open();
  } catch (...) {
    connection->close();
    throw;
  }
}

}  // namespace quern::http
