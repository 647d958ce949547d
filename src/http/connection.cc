// The frame of a connection: its events, its phases up to the handler, its reads, writes and
// deadlines.

#include "http/connection.h"

#include <algorithm>
#include <exception>

#include "base/log.h"
#include "http/connection_impl.h"
#include "http/server_state.h"

namespace quern::http {
namespace {

constexpr Fault kHeadTimeout{408, "Request head timed out"};
constexpr Fault kBodyTimeout{408, "Request body timed out"};
constexpr Fault kIncomplete{400, "Incomplete request"};

}  // namespace

Connection::Connection(std::shared_ptr<IoThread> io, std::shared_ptr<ServerState> state,
                       std::unique_ptr<Transport> transport, std::string peer_ip)
    : io_(std::move(io)),
      state_(std::move(state)),
      transport_(std::move(transport)),
      peer_ip_(std::move(peer_ip)) {
  transport_->attach(*this);
  head_.request.peer_ip = peer_ip_;
  head_.request.tls = transport_->is_tls();
}

Connection::~Connection() { drop_file(response_); }

ByteBudget& Connection::memory() const { return state_->memory; }

void Connection::open() {
  io_->arm(*this, Deadline::setup);
  if (transport_->is_tls()) {
    transport_->handshake();
  } else {
    on_handshake(true);
  }
}

void Connection::begin_drain() {
  if (phase_ == Phase::setup) return close();
  if (phase_ == Phase::head) enter([] {});
}

void Connection::close() {
  if (phase_ == Phase::closed) return;
  const auto keep = shared_from_this();  // the I/O thread's may be the last
  phase_ = Phase::closed;
  disarm();
  transport_->close();
  lose_stream();
  drop_job();
  close_file(std::exchange(file_, {}));
  state_->connections.remove();
  io_->remove(*this);
  notify_gone();
}

void Connection::notify_gone() {
  if (auto gone = std::exchange(gone_, nullptr); gone) gone();
}

/// Belongs to the request it was called for, even if it arrives here when that was answered.
void Connection::on_disconnect(std::move_only_function<void()> gone) {
  dispatch([this, number = request_number_, gone = std::move(gone)]() mutable {
    const bool is_pending = phase_ == Phase::handling || phase_ == Phase::body;
    if (phase_ == Phase::closed || (is_pending && peer_ended_)) {
      gone();
    } else if (is_pending && number == request_number_) {
      gone_ = std::move(gone);
    }
  });
}

void Connection::on_handshake(bool ok) {
  if (phase_ != Phase::setup) return;
  if (!ok) return close();
  enter([this] { phase_ = Phase::head; });
}

void Connection::on_read(std::size_t bytes, ReadOutcome outcome) {
  reading_ = false;
  if (phase_ == Phase::closed) return;
  if (outcome == ReadOutcome::failed) return close();
  if (phase_ == Phase::lingering) {
    if (outcome == ReadOutcome::ended) return close();
    return on_lingering_bytes(bytes);
  }
  enter([&] {
    in_.commit(bytes);
    if (outcome != ReadOutcome::ended) return;
    peer_ended_ = true;
    if (phase_ == Phase::streaming)
      return close();  // no one sends half a connection to an event stream
    if (phase_ == Phase::handling) notify_gone();
  });
}

void Connection::on_written(std::size_t bytes, bool ok) {
  writing_ = false;
  if (phase_ == Phase::closed) return;
  if (!ok) return close();
  inflight_sent_ += bytes;
  if (inflight_sent_ < inflight_.size()) return start_write();
  std::string().swap(inflight_);
  answer_hold_.release();
  enter([] {});
}

void Connection::on_shutdown() {
  if (phase_ == Phase::lingering && !reading_) linger_on();
}

void Connection::on_deadline(Deadline kind) {
  const bool can_refuse = !writing_ && outbox_.empty();
  if (kind == Deadline::head && phase_ == Phase::head && can_refuse) {
    enter([this] { refuse(kHeadTimeout); });
  } else if (kind == Deadline::body && phase_ == Phase::body && can_refuse) {
    enter([this] { refuse(kBodyTimeout); });
  } else {
    close();
  }
}

void Connection::advance() {
  do {
    while (step()) {
    }
  } while (flush());
  settle();
}

/// Goes one phase on; false when that takes an event.
bool Connection::step() {
  switch (phase_) {
    case Phase::head:
      return step_head();
    case Phase::body:
      return step_body();
    case Phase::file:
      return step_file();
    case Phase::streaming:
      return step_stream();
    case Phase::skipping:
      return step_skip();
    case Phase::closing:
      return step_close();
    case Phase::setup:
    case Phase::handling:
    case Phase::lingering:
    case Phase::closed:
      break;
  }
  return false;
}

/// True when something was written to its end, which may let a phase go on.
bool Connection::flush() {
  // A file's first bytes go out together with the head.
  if (phase_ == Phase::closed || writing_ || outbox_.empty() || file_busy_) return false;
  const std::size_t written = transport_->try_write(outbox_);
  if (written == outbox_.size()) {
    outbox_.clear();
    answer_hold_.release();
    return true;
  }
  inflight_.swap(outbox_);
  inflight_sent_ = written;
  start_write();
  return false;
}

void Connection::start_write() {
  writing_ = true;
  io_->arm(*this, Deadline::write);
  transport_->write(std::string_view(inflight_).substr(inflight_sent_));
}

void Connection::settle() {
  if (wants_input() && !reading_ && !peer_ended_ && make_room()) start_read();
  if (phase_ != Phase::closed && phase_ != Phase::lingering && !writing_) arm_for_input();
}

void Connection::start_read() {
  reading_ = true;
  transport_->read(in_.tail());
}

/// Input is awaited for its own sake, or to learn that the peer has left.
bool Connection::wants_input() const {
  switch (phase_) {
    case Phase::head:
    case Phase::skipping:
      return !writing_;
    case Phase::body:
      return !writing_ && !sink_busy_;
    case Phase::handling:
      return gone_ != nullptr;
    case Phase::streaming:
      return true;
    default:
      return false;
  }
}

void Connection::arm_for_input() {
  if (phase_ == Phase::head && in_.empty()) {
    if (served_any_) {
      io_->arm(*this, Deadline::idle);
    } else if (!is_armed(Deadline::setup)) {
      io_->arm(*this, Deadline::setup);
    }
  } else if (phase_ == Phase::head) {
    if (!is_armed(Deadline::head)) io_->arm(*this, Deadline::head);
  } else if (phase_ == Phase::skipping || (phase_ == Phase::body && !sink_busy_)) {
    io_->arm(*this, Deadline::body);
  } else {
    disarm();
  }
}

/// Makes free memory behind what came in. False if there is none to be had while a request is
/// looked at.
bool Connection::make_room() {
  if (!views_live_) {
    if (in_.empty() && in_.capacity() > kReadBufferBytes) in_.release();
    if (in_.empty() || in_.tail().size() < kReadBytesMin)
      in_.make_room(kReadBytesMin, kReadBufferBytes);
    return true;
  }
  const bool is_pinned = pinned_.capacity() > 0;
  if (is_pinned && in_.empty()) in_.make_room(kReadBytesMin, kBodyBufferBytes);
  if (phase_ == Phase::body && !is_body_in_place() && in_.tail().size() < kReadBytesMin)
    pin_head(kBodyBufferBytes);
  // A head that fills the memory to its end leaves none to hear in that the peer has left.
  if (phase_ == Phase::handling && in_.empty() && in_.tail().empty()) pin_head(kReadBufferBytes);
  return !in_.tail().empty();
}

/// Lets in_ move while the request is alive, into memory with `bytes_free` free: the bytes its views
/// point to stay where they are.
void Connection::pin_head(std::size_t bytes_free) {
  if (pinned_.capacity() > 0) return in_.make_room(bytes_free, bytes_free);
  pinned_ = std::exchange(in_, ReadBuffer());
  in_.make_room(pinned_.size() + bytes_free, bytes_free);
  in_.append(pinned_.view());
}

bool Connection::step_head() {
  if (writing_ || outbox_.size() >= kCoalesceBytesMax) return false;
  switch (scanner_.scan(in_.view(), state_->options.head_bytes_max)) {
    case HeadScanner::Found::need_more:
      return step_end_of_input();
    case HeadScanner::Found::fault:
      return refuse(scanner_.fault());
    case HeadScanner::Found::complete:
      break;
  }
  return handle_request();
}

/// Nothing more can be made of what came in: ends the connection if no more will come.
bool Connection::step_end_of_input() {
  if (peer_ended_ && !in_.empty()) return refuse(kIncomplete);
  const bool is_over =
      peer_ended_ || (state_->stopping.load(std::memory_order_relaxed) && in_.empty());
  if (!is_over) return false;
  phase_ = Phase::closing;
  linger_ = false;
  return true;
}

bool Connection::handle_request() {
  const std::string_view bytes = in_.view().substr(0, scanner_.end()).substr(scanner_.start());
  const auto fault = parse_head(bytes, head_);
  if (fault) return refuse(*fault);
  if (!head_.names_host) tell_local_address();
  in_.consume(scanner_.end());
  scanner_.reset();
  disarm();

  const Request& request = head_.request;
  if (head_.chunked) {
    body_.start_chunked();
  } else {
    body_.start_length(request.content_length.value_or(0));
  }
  phase_ = Phase::handling;
  served_any_ = views_live_ = true;
  continue_sent_ = body_failed_ = linger_ = false;
  is_head_only_ = request.method == Method::head;
  skipped_ = 0;
  ++request_number_;
  call_handler();
  return true;
}

void Connection::tell_local_address() {
  if (local_.empty()) local_ = transport_->local_address();
  head_.request.local = local_;
}

void Connection::call_handler() {
  try {
    state_->handler(Exchange(shared_from_this()));
  } catch (const std::exception& error) {  // its exchange has answered 500 on the way out
    log_error("An HTTP handler threw", {{"what", error.what()}});
  }
}

/// Looks no further than the scanner did, so that the answer does not depend on how the bytes arrive.
bool Connection::salvage_refused_head() {
  const std::string_view bytes = in_.view().substr(scanner_.start());
  return salvage_head(bytes.substr(0, state_->options.head_bytes_max), head_);
}

/// Answers in the handler's place and ends the connection: where the next request begins is not
/// certain.
bool Connection::refuse(const Fault& fault) {
  const Request* const request =
      phase_ == Phase::body || salvage_refused_head() ? &head_.request : nullptr;
  drop_job();
  body_failed_ = linger_ = true;
  is_head_only_ = request != nullptr && request->method == Method::head;
  phase_ = Phase::handling;
  response_ = state_->make_fault_answer(request, fault);
  response_.close = true;
  answer();
  return true;
}

/// A sink may be the end of a large file, and so may what its reader has kept of it: both end where
/// that may block.
void Connection::drop_job() {
  if (job_ && job_->to_sink) state_->pool.drop([job = std::move(*job_)] {});
  job_.reset();
  if (body_text_.empty()) body_hold_.release();
}

bool Connection::step_close() {
  if (writing_ || !outbox_.empty()) return false;
  if (peer_ended_ || (!linger_ && !transport_->is_tls())) {
    close();
    return false;
  }
  phase_ = Phase::lingering;
  skipped_ = 0;
  io_->arm(*this, Deadline::linger);
  transport_->shutdown();
  return false;
}

/// Of a refused body, what was declared and is still to come. A peer that sends all of it before it
/// reads the answer would otherwise get a reset in its place.
std::uint64_t Connection::declared_bytes_left() const {
  return std::min(body_.bytes_left(), kLingerDeclaredBytesMax);
}

void Connection::on_lingering_bytes(std::size_t bytes) {
  skipped_ += bytes;
  // A declared body may take its time while it comes, but holds up no server that stops.
  if (skipped_ < declared_bytes_left() && !state_->stopping.load(std::memory_order_relaxed))
    io_->arm(*this, Deadline::linger);
  linger_on();
}

void Connection::linger_on() {
  if (skipped_ > kLingerBytesMax + declared_bytes_left()) return close();
  in_.consume(in_.size());
  if (in_.capacity() > kReadBufferBytes) in_.release();
  in_.make_room(kReadBufferBytes, kReadBufferBytes);
  reading_ = true;
  transport_->read_raw(in_.tail());
}

}  // namespace quern::http
