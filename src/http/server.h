#pragma once
// The HTTP/1.1 server: connections in, requests to a handler, answers out.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/metrics.h"
#include "base/result.h"
#include "http/message.h"

namespace quern::http {

class Connection;  // one TCP or TLS stream and the request on it

/// Where bytes of a body go that are too many for memory. Called on a thread that may block.
class BodySink {
 public:
  virtual ~BodySink() = default;
  virtual Result<void> write(std::string_view bytes) = 0;
};

/// An answer that goes on: an event stream. Movable; the stream ends when it is destroyed, and is then whole to its
/// peer. Threads: any.
class StreamWriter {
 public:
  StreamWriter() = default;
  explicit StreamWriter(std::shared_ptr<Connection> connection);
  StreamWriter(StreamWriter&&) = default;
  StreamWriter& operator=(StreamWriter&&) noexcept;
  ~StreamWriter();
  /// False once the peer is gone, or so far behind that kStreamPendingBytesMax wait; then stop.
  bool write(std::string bytes);
  [[nodiscard]] bool is_open() const;
  /// Ends it short: what was written is sent, then the connection closes without the mark of a whole body, so that the
  /// peer knows that more was to come (before HTTP/1.1 nothing tells it).
  void break_off() &&;

 private:
  std::shared_ptr<Connection> connection_;
};

/// One request on its way to an answer: move it along, and answer exactly once. One that is
/// destroyed without an answer answers 500. `request()` and its views live until then. Threads:
/// any, one at a time. Answering on the connection's own I/O thread costs no hop.
class Exchange {
 public:
  explicit Exchange(std::shared_ptr<Connection> connection);
  Exchange(Exchange&&) = default;
  Exchange& operator=(Exchange&&) = delete;
  ~Exchange();

  [[nodiscard]] const Request& request() const;

  /// Reads the whole body (sending 100 Continue if asked for), then calls `then` with request().body set, on the I/O
  /// thread. A body over `bytes_max` calls it with too_large: at once when the length is declared, else when the limit
  /// is passed; one for which `account` gets no memory (hold()) calls it with unavailable. The handler answers then,
  /// and the connection closes after that. A peer that breaks off, or is slower than the timeouts allow, never calls it.
  using BodyThen = std::move_only_function<void(Exchange, Result<void>)>;
  void read_body(std::uint64_t bytes_max, BodyThen then, Account account = 0) &&;
  /// The same, but hands the bytes to `sink` piece by piece and keeps none; a sink's error comes to
  /// `then`.
  void read_body_to(std::unique_ptr<BodySink> sink, std::uint64_t bytes_max, BodyThen then) &&;

  /// Memory for an answer's body of `bytes`, for Response::hold. Nothing: large bodies and answers, of the account or
  /// of all, have taken what options.memory_bytes_max allows; answer 503.
  [[nodiscard]] std::optional<ByteHold> hold(std::uint64_t bytes, Account account = 0);
  /// Content-Length, Date, Server and Connection are added here. HEAD gets the head only; a body
  /// that was not read is skipped if small, else the connection closes.
  void send(Response response) &&;
  /// Sends the head (chunked, no Content-Length) and leaves the body to the writer.
  StreamWriter stream(Response head) &&;
  /// Calls `gone` (on an I/O thread, at most once) if the peer leaves before the answer is sent. A peer that has
  /// only ended its own side looks the same; an answer that is sent all the same reaches it. Never from within
  /// a writer's functions or its end.
  void on_disconnect(std::move_only_function<void()> gone);

  /// Runs `work` on the I/O thread of this connection, now if that is the caller's thread. Never
  /// once the server has stopped; `work` is destroyed then.
  template <typename Work>
  void post(Work work) {
    if (is_current()) return work();
    post_away(std::move(work));
  }
  /// Whether the server has stopped, so that no answer is sent any more.
  [[nodiscard]] bool is_over() const;

 private:
  [[nodiscard]] bool is_current() const;
  void post_away(std::move_only_function<void()> work);

  std::shared_ptr<Connection> connection_;
};

/// Called on I/O threads, with the head read and the body not. Must not block.
using Handler = std::function<void(Exchange)>;

struct TlsFiles {
  std::filesystem::path cert;  // PEM, the chain
  std::filesystem::path key;   // PEM
};

/// TLS needs both, and that they go together. Errors: invalid_argument, naming the file.
Result<void> check_tls_files(const TlsFiles& files);

struct ListenAddress {
  std::string host;  // a name or an address, without brackets
  std::uint16_t port = 0;
};

/// "127.0.0.1:8080", "[::1]:0", "localhost:8080"; no name is looked up. Errors: invalid_argument.
Result<ListenAddress> parse_listen_address(std::string_view text);

struct ServerOptions {
  std::string listen = "127.0.0.1:8080";  // host:port or [host]:port; port 0: any free one
  unsigned threads = 0;                   // 0: one per core
  std::optional<TlsFiles> tls;
  std::uint64_t head_bytes_max = 16 * 1024;  // 431 above; a target above it alone: 414
  std::uint32_t connections_max = 20'000;    // one more is closed at once
  /// Bodies and held answers in memory, beyond kUncountedBytes of each; see ByteBudget.
  std::uint64_t memory_bytes_max = 256U << 20U;
  std::chrono::milliseconds head_timeout{10'000};  // from the first byte of a head to its last: 408
  std::chrono::milliseconds body_timeout{60'000};  // without a byte of the body arriving: 408
  std::chrono::milliseconds idle_timeout{75'000};  // between requests
  std::chrono::milliseconds write_timeout{60'000};  // without a byte of the answer being taken
  /// For the peer's own end after the last answer; anew with each byte of a refused body.
  std::chrono::milliseconds linger_timeout{5'000};
  /// Makes the answer to what is no request (400, 408, 414, 417, 431, 501, 505): `status` and a short
  /// reason. `request` is whole if its body alone was at fault; else it has what its head tells of the
  /// method and the headers, or is null if that is nothing. No function: a plain text body.
  std::function<Response(const Request* request, unsigned status, std::string_view reason)>
      protocol_error;
};

inline constexpr std::size_t kStreamPendingBytesMax = 256 * 1024;

/// Services: start() and stop() are idempotent; stop() returns when every thread has ended.
class Server {
 public:
  Server(ServerOptions options, Handler handler, Metrics& metrics);
  ~Server();

  /// Binds, listens and starts the threads. Errors: unavailable (port in use, no such address),
  /// invalid_argument (address form, certificate files).
  Result<void> start();
  /// "http://127.0.0.1:8080", with the real port. After start().
  [[nodiscard]] std::string url() const;
  /// Connections from now on are served with these files, those that are open keep what they have. After start() with
  /// TLS. Errors: invalid_argument (the files; nothing changes).
  Result<void> renew_certificate(const TlsFiles& files);
  /// Closes the listener and idle connections; answers under way are finished, each ends its
  /// connection.
  void stop_accepting();
  /// Closes everything after waiting at most `grace` for answers under way.
  void stop(std::chrono::milliseconds grace = std::chrono::milliseconds{1'000});
  [[nodiscard]] std::size_t connections() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quern::http
