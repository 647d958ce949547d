// The handler's side of a connection.

#include <utility>

#include "http/connection.h"
#include "http/io_thread.h"
#include "http/server.h"

namespace quern::http {

Exchange::Exchange(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}

Exchange::~Exchange() {
  if (!connection_) return;
  Response response;
  response.status = 500;
  response.add_header("Content-Type", "application/json");
  response.body = R"({"detail":"Internal Server Error"})";
  std::exchange(connection_, nullptr)->send(std::move(response));
}

const Request& Exchange::request() const { return connection_->request(); }

void Exchange::read_body(std::uint64_t bytes_max, BodyThen then, Account account) && {
  std::exchange(connection_, nullptr)->read_body(nullptr, bytes_max, std::move(then), account);
}

void Exchange::read_body_to(std::unique_ptr<BodySink> sink, std::uint64_t bytes_max,
                            BodyThen then) && {
  std::exchange(connection_, nullptr)->read_body(std::move(sink), bytes_max, std::move(then), 0);
}

std::optional<ByteHold> Exchange::hold(std::uint64_t bytes, Account account) {
  ByteBudget& memory = connection_->memory();
  ByteHold held;
  if (held.grow(memory, account, bytes)) return held;
  memory.count_refusal();
  return std::nullopt;
}

void Exchange::send(Response response) && {
  std::exchange(connection_, nullptr)->send(std::move(response));
}

StreamWriter Exchange::stream(Response head) && {
  auto connection = std::exchange(connection_, nullptr);
  connection->begin_stream(std::move(head));
  return StreamWriter(std::move(connection));
}

void Exchange::on_disconnect(std::move_only_function<void()> gone) {
  connection_->on_disconnect(std::move(gone));
}

bool Exchange::is_current() const { return connection_->io().is_current(); }

bool Exchange::is_over() const { return connection_->io().has_ended(); }

// The work may own this exchange, and be over and gone before the thread is even woken.
void Exchange::post_away(std::move_only_function<void()> work) {
  const auto keep = connection_;
  keep->io().post(std::move(work));
}

StreamWriter::StreamWriter(std::shared_ptr<Connection> connection)
    : connection_(std::move(connection)) {}

StreamWriter& StreamWriter::operator=(StreamWriter&& other) noexcept {
  StreamWriter taken(std::move(other));
  std::swap(connection_, taken.connection_);
  return *this;
}

StreamWriter::~StreamWriter() {
  if (connection_) connection_->end_stream(StreamEnd::whole);
}

void StreamWriter::break_off() && {
  if (const auto connection = std::exchange(connection_, nullptr))
    connection->end_stream(StreamEnd::cut_short);
}

bool StreamWriter::write(std::string bytes) {
  return connection_ && connection_->write_stream(std::move(bytes));
}

bool StreamWriter::is_open() const { return connection_ && connection_->is_stream_open(); }

}  // namespace quern::http
