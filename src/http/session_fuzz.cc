// A whole connection, fed with any bytes in any pieces, without a socket. The first byte chooses
// how the rest is cut up; the answers must not depend on it.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/assert.h"
#include "http/connection.h"
#include "http/io_thread_fixture.h"
#include "http/server_state.h"

namespace quern::http {
namespace {

constexpr std::uint64_t kBodyMax = 1'000;

/// The peer: gives bytes when asked, takes what is written. Operations end in the driver's loop.
class FuzzTransport final : public Transport {
 public:
  FuzzTransport(std::string_view input, std::size_t piece_bytes, std::string& output)
      : input_(input), piece_bytes_(piece_bytes), output_(output) {}

  [[nodiscard]] bool is_tls() const override { return false; }
  void handshake() override {}
  void read(std::span<char> into) override {
    QUERN_ASSERT(!into.empty() && pending_.empty());
    pending_ = into;
    is_reading_ = true;
  }
  void read_raw(std::span<char> into) override { read(into); }
  std::size_t try_write(std::string_view bytes) override {
    output_.append(bytes);
    return bytes.size();
  }
  void write(std::string_view) override { QUERN_ASSERT(false); }
  void shutdown() override { is_shut_down_ = true; }
  void close() override {}

  /// Ends what is under way; false if nothing is.
  bool drive(Connection& connection) {
    if (std::exchange(is_shut_down_, false)) {
      connection.on_shutdown();
      return true;
    }
    if (!std::exchange(is_reading_, false)) return false;
    const std::span<char> into = std::exchange(pending_, {});
    const std::size_t bytes = std::min({into.size(), piece_bytes_, input_.size()});
    std::copy_n(input_.data(), bytes, into.data());
    input_.remove_prefix(bytes);
    connection.on_read(bytes, bytes > 0 ? ReadOutcome::data : ReadOutcome::ended);
    return true;
  }

 private:
  std::string_view input_;
  std::size_t piece_bytes_;
  std::string& output_;
  std::span<char> pending_;
  bool is_reading_ = false;
  bool is_shut_down_ = false;
};

void check(const Request& request) {
  QUERN_ASSERT(!request.path.empty() && !request.method_name.empty());
  for (const Header& header : request.headers) {
    QUERN_ASSERT(!header.name.empty());
    QUERN_ASSERT(header.value.find_first_of("\r\n") == std::string_view::npos);
  }
}

/// Every second request has its body read, the others leave it; the answer says what was
/// understood.
void handle(Exchange exchange) {
  check(exchange.request());
  if (exchange.request().path.size() % 2 == 0) {
    Response response;
    response.body = exchange.request().path;
    return std::move(exchange).send(std::move(response));
  }
  std::move(exchange).read_body(kBodyMax, [](Exchange read, Result<void> result) {
    check(read.request());
    Response response;
    response.status = result ? 200 : 413;
    response.body = std::string(read.request().target) + " " + std::string(read.request().body);
    std::move(read).send(std::move(response));
  });
}

/// Tells all that was salvaged, so that this is compared, too.
Response refuse(const Request* request, unsigned status, std::string_view reason) {
  Response response;
  response.status = status;
  response.body = reason;
  if (request == nullptr) return response;
  response.add_header("Method", request->method_name);
  for (const Header& header : request->headers) response.add_header(header.name, header.value);
  return response;
}

/// Everything that is answered to `input` when it arrives in pieces of at most `piece_bytes`.
std::string answers_to(std::string_view input, std::size_t piece_bytes) {
  static Metrics metrics;
  static const auto state = std::make_shared<ServerState>(
      ServerOptions{.head_bytes_max = 512, .protocol_error = refuse}, handle, metrics);
  static const auto io = [] {
    auto made = make_io_thread();
    made->poll();
    return made;
  }();

  std::string output;
  auto transport = std::make_unique<FuzzTransport>(input, piece_bytes, output);
  FuzzTransport& peer = *transport;
  QUERN_ASSERT(state->connections.try_add(1));
  const auto connection =
      std::make_shared<Connection>(io, state, std::move(transport), "127.0.0.1");
  io->add(connection);
  connection->open();
  while (state->connections.get() > 0 && peer.drive(*connection)) {
  }
  QUERN_ASSERT(state->connections.get() == 0);  // the peer has ended, so the connection has, too
  return output;
}

void erase_all(std::string& text, std::string_view start, std::string_view end) {
  for (std::size_t at = 0; (at = text.find(start, at)) != std::string::npos;) {
    text.erase(at, text.find(end, at + start.size()) + end.size() - at);
  }
}

/// Between two runs time may pass, and whether a body must be asked for depends on what has arrived.
std::string without_chance(std::string text) {
  erase_all(text, "Date: ", "\r\n");
  erase_all(text, "HTTP/1.1 100 Continue\r\n", "\r\n");
  return text;
}

}  // namespace
}  // namespace quern::http

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t piece_bytes = std::size_t{data[0]} + 1;
  const std::string in_pieces = quern::http::answers_to(input, piece_bytes);
  const std::string at_once = quern::http::answers_to(input, input.size() + 1);
  QUERN_ASSERT(quern::http::without_chance(in_pieces) == quern::http::without_chance(at_once));
  return 0;
}
