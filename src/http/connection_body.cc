// How a request's body comes to the handler, or is thrown away.

#include <algorithm>
#include <exception>

#include "base/log.h"
#include "http/connection.h"
#include "http/connection_impl.h"
#include "http/server_state.h"

namespace quern::http {
namespace {

constexpr std::size_t kBodyReserveBytesMax = 256 * 1024;  // a declared length is only a promise

std::unexpected<Error> too_large(std::uint64_t bytes_max) {
  return fail(ErrorCode::too_large,
              "Request body larger than " + std::to_string(bytes_max) + " bytes");
}

std::unexpected<Error> no_memory(ByteBudget& memory) {
  memory.count_refusal();
  return fail(ErrorCode::unavailable, "Too many large bodies and answers at once");
}

}  // namespace

void Connection::read_body(std::unique_ptr<BodySink> sink, std::uint64_t bytes_max,
                           Exchange::BodyThen then, Account account) {
  BodyJob job;
  job.bytes_max = bytes_max;
  job.to_sink = sink != nullptr;
  job.sink = std::move(sink);
  job.then = std::move(then);
  job.account = account;
  dispatch([this, job = std::move(job)]() mutable { begin_body(std::move(job)); });
}

void Connection::begin_body(BodyJob job) {
  if (phase_ == Phase::closed) return;
  QUERN_ASSERT(phase_ == Phase::handling);
  phase_ = Phase::body;
  job_.emplace(std::move(job));
  const std::uint64_t left = body_.bytes_left();
  if (left > job_->bytes_max) {
    finish_body(too_large(job_->bytes_max));
  } else if (!job_->to_sink && !state_->memory.has_room(job_->account, left)) {
    finish_body(no_memory(state_->memory));
  } else if (head_.expects_continue && !continue_sent_ && !body_.is_done() && in_.empty()) {
    continue_sent_ = true;
    outbox_.append("HTTP/1.1 100 Continue\r\n\r\n");
  }
}

bool Connection::step_body() {
  if (sink_busy_ || writing_) return false;
  return is_body_in_place() ? step_body_in_place() : gather_body();
}

/// Whether the whole body is, or will be, in one piece in the read buffer, where the handler can
/// look at it.
bool Connection::is_body_in_place() const {
  const auto length = head_.request.content_length;
  return length && !job_->to_sink && !body_.is_done() && body_.bytes_left() == *length &&
         pinned_.capacity() == 0 && *length <= in_.size() + in_.tail().size();
}

bool Connection::step_body_in_place() {
  if (in_.size() < body_.bytes_left()) return await_body_bytes();
  const BodyDecoder::Piece piece = body_.decode(in_.view());
  in_.consume(piece.consumed);
  head_.request.body = piece.payload;
  return finish_body({});
}

bool Connection::gather_body() {
  const BodyDecoder::Piece piece = body_.decode(in_.view());
  in_.consume(piece.consumed);
  if (piece.fault != nullptr) return refuse(*piece.fault);
  job_->received += piece.payload.size();
  if (job_->received > job_->bytes_max) return finish_body(too_large(job_->bytes_max));
  if (!job_->to_sink && !body_hold_.grow(state_->memory, job_->account, job_->received))
    return finish_body(no_memory(state_->memory));
  if (job_->gathered.empty()) {
    job_->gathered.reserve(
        std::min<std::uint64_t>(body_.bytes_left() + piece.payload.size(), kBodyReserveBytesMax));
  }
  job_->gathered.append(piece.payload);
  const bool is_done = body_.is_done();
  if (job_->to_sink && (is_done || job_->gathered.size() >= kSinkPieceBytes))
    return write_to_sink();
  if (is_done) return finish_body({});
  return piece.consumed > 0 || await_body_bytes();
}

bool Connection::await_body_bytes() {
  if (!peer_ended_) return false;
  phase_ = Phase::closing;  // once what was answered before is on its way
  linger_ = false;
  return true;
}

bool Connection::finish_body(Result<void> result) {
  body_failed_ = !result.has_value();
  if (result && !job_->to_sink && !job_->gathered.empty()) {
    body_text_ = std::move(job_->gathered);
    head_.request.body = body_text_;
  }
  Exchange::BodyThen then = std::move(job_->then);
  std::unique_ptr<BodySink> sink = std::move(job_->sink);
  job_.reset();
  if (sink) state_->pool.drop([sink = std::move(sink)] {});
  phase_ = Phase::handling;
  try {
    then(Exchange(shared_from_this()), std::move(result));
  } catch (const std::exception& error) {  // its exchange has answered 500 on the way out
    log_error("An HTTP handler threw", {{"what", error.what()}});
  }
  return true;
}

/// The sink goes to the blocking pool with the bytes and comes back with what became of them; after
/// the last bytes it ends there, so that files are closed before the handler goes on.
bool Connection::write_to_sink() {
  sink_busy_ = true;
  state_->pool.post([keep = shared_from_this(), sink = std::move(job_->sink),
                     piece = std::move(job_->gathered), is_last = body_.is_done()]() mutable {
    Result<void> result;
    if (!piece.empty()) result = sink->write(piece);
    if (is_last || !result) sink.reset();
    Connection& connection = *keep;
    connection.io_->post([keep = std::move(keep), sink = std::move(sink), piece = std::move(piece),
                          result = std::move(result)]() mutable {
      keep->on_sink_written(std::move(sink), std::move(piece), std::move(result));
    });
  });
  return false;
}

void Connection::on_sink_written(std::unique_ptr<BodySink> sink, std::string piece,
                                 Result<void> result) {
  sink_busy_ = false;
  if (phase_ == Phase::closed) {
    if (sink) state_->pool.drop([sink = std::move(sink)] {});
    return;
  }
  enter([&] {
    if (!sink) {
      finish_body(std::move(result));
      return;
    }
    piece.clear();
    job_->gathered = std::move(piece);
    job_->sink = std::move(sink);
  });
}

/// Whether what is left of a body nobody read is cheaper to throw away than the connection. A peer
/// that asked before sending may go on either way.
bool Connection::is_body_skippable() const {
  return !body_failed_ && body_.bytes_left() <= kSkipBytesMax &&
         (continue_sent_ || !head_.expects_continue);
}

bool Connection::step_skip() {
  const BodyDecoder::Piece piece = body_.decode(in_.view());
  in_.consume(piece.consumed);
  skipped_ += piece.consumed;
  if (piece.fault != nullptr || skipped_ > kSkipBytesMax) {
    linger_ = true;
    phase_ = Phase::closing;
    return true;
  }
  if (body_.is_done()) {
    phase_ = Phase::head;
    return true;
  }
  if (piece.consumed == 0 && peer_ended_) phase_ = Phase::closing;
  return piece.consumed > 0 || peer_ended_;
}

}  // namespace quern::http
