#pragma once
// Transports over real sockets. Private to this module's .cc files.

#include <memory>
#include <string>

#include "base/result.h"
#include "http/asio.h"
#include "http/file_handle.h"
#include "http/ready_set.h"
#include "http/server.h"
#include "http/transport.h"

namespace boost::asio::ssl {
class context;
}

namespace quern::http {

/// The executor's type is concrete: Asio's any_io_executor costs an indirect call and often an
/// allocation for each operation.
using TcpSocket =
    boost::asio::basic_stream_socket<boost::asio::ip::tcp, boost::asio::io_context::executor_type>;
using TcpAcceptor = boost::asio::basic_socket_acceptor<boost::asio::ip::tcp,
                                                       boost::asio::io_context::executor_type>;
using TlsContext = boost::asio::ssl::context;

/// Of a socket that does not block. Null when `sockets` takes no more.
std::unique_ptr<Transport> make_tcp_transport(FileHandle socket, ReadySet& sockets);
std::unique_ptr<Transport> make_tls_transport(TcpSocket socket, TlsContext& context);

/// TLS 1.2 or newer, HTTP/1.1 by ALPN. Errors: invalid_argument, naming the file.
Result<std::shared_ptr<TlsContext>> make_tls_context(const TlsFiles& files);

}  // namespace quern::http
