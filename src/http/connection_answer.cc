// How answers leave: from memory, from a file, from a stream.

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

#include "http/answer_head.h"
#include "http/connection.h"
#include "http/connection_impl.h"
#include "http/server_state.h"

namespace quern::http {
namespace {

/// As many of `bytes_max` bytes at `offset` as there are.
std::string read_chunk(int fd, std::uint64_t offset, std::size_t bytes_max) {
  std::string chunk(bytes_max, '\0');
  std::size_t filled = 0;
  while (filled < bytes_max) {
    const ssize_t got =
        ::pread(fd, chunk.data() + filled, bytes_max - filled, static_cast<off_t>(offset + filled));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    filled += static_cast<std::size_t>(got);
  }
  chunk.resize(filled);
  return chunk;
}

}  // namespace

void Connection::send(Response response) {
  response_ = std::move(response);
  dispatch([this] { answer(); });
}

/// The peer is told before the body whether the connection goes on, so that is decided here.
void Connection::decide_close(bool wanted) {
  const bool is_body_left = !body_.is_done();
  close_after_ = wanted || !head_.keep_alive || body_failed_ ||
                 (is_body_left && !is_body_skippable()) ||
                 state_->stopping.load(std::memory_order_relaxed);
  linger_ = linger_ || is_body_left || head_.keep_alive;
}

void Connection::append_head(const Response& response, std::optional<std::uint64_t> length,
                             bool chunked) {
  std::string_view connection;
  if (close_after_) {
    connection = "close";
  } else if (!head_.http11) {
    connection = "keep-alive";
  }
  append_answer_head(outbox_, response,
                     {.content_length = length, .chunked = chunked, .connection = connection},
                     io_->common_headers());
}

void Connection::answer() {
  Response response = std::exchange(response_, {});
  if (phase_ == Phase::closed) return drop_file(response);
  QUERN_ASSERT(phase_ == Phase::handling && response.status >= 200);
  decide_close(response.close);
  const bool has_body = !is_bodyless(response.status);
  const std::uint64_t bytes = response.file ? response.file->bytes : response.body.size();
  append_head(response, has_body ? std::optional(bytes) : std::nullopt, false);
  if (!has_body || is_head_only_ || bytes == 0) {
    drop_file(response);
  } else if (response.file) {
    return begin_file(*response.file);
  } else {
    outbox_.append(response.body);
    answer_hold_ = std::move(response.hold);
  }
  end_answer();
}

/// The last byte of the answer is in the outbox: the request is over.
void Connection::end_answer() {
  views_live_ = false;
  if (pinned_.capacity() > 0) pinned_.release();
  if (!body_text_.empty()) std::string().swap(body_text_);
  body_hold_.release();
  if (gone_) gone_ = nullptr;
  if (close_after_) {
    phase_ = Phase::closing;
  } else {
    phase_ = body_.is_done() ? Phase::head : Phase::skipping;
  }
}

void Connection::drop_file(Response& response) {
  if (!response.file) return;
  close_file(FileHandle(response.file->fd));
  response.file.reset();
}

/// Closing may block, so it is not for this thread.
void Connection::close_file(FileHandle file) {
  if (file.is_open()) state_->pool.drop([file = std::move(file)] {});
}

void Connection::begin_file(const FileBody& file) {
  phase_ = Phase::file;
  file_ = FileHandle(file.fd);
  file_offset_ = file.offset;
  file_left_ = file.bytes;
  read_file_chunk();
}

/// One chunk is read when the one before it was taken by the peer's side of the network.
bool Connection::step_file() {
  if (file_busy_ || writing_ || !outbox_.empty()) return false;
  if (file_left_ > 0) {
    read_file_chunk();
    return false;
  }
  close_file(std::exchange(file_, {}));
  end_answer();
  return true;
}

void Connection::read_file_chunk() {
  file_busy_ = true;
  const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(file_left_, kFileChunkBytes));
  state_->pool.post([keep = shared_from_this(), file = std::exchange(file_, {}),
                     offset = file_offset_, bytes]() mutable {
    std::string chunk = read_chunk(file.fd(), offset, bytes);
    Connection& connection = *keep;
    connection.io_->post(
        [keep = std::move(keep), file = std::move(file), chunk = std::move(chunk)]() mutable {
          keep->on_file_chunk(std::move(file), std::move(chunk));
        });
  });
}

void Connection::on_file_chunk(FileHandle file, std::string chunk) {
  file_busy_ = false;
  file_ = std::move(file);
  if (phase_ == Phase::closed) return close_file(std::exchange(file_, {}));
  // A file that became shorter cannot keep the length that was promised; only breaking off tells
  // the peer.
  if (chunk.empty()) return close();
  enter([&] {
    file_offset_ += chunk.size();
    file_left_ -= chunk.size();
    outbox_.append(chunk);
  });
}

void Connection::begin_stream(Response head) {
  {
    const std::scoped_lock lock(stream_mutex_);
    stream_.open = !stream_.peer_gone;
    stream_.overrun = stream_.scheduled = false;
    stream_.ended.reset();
    stream_.pending.clear();
  }
  response_ = std::move(head);
  dispatch([this] { answer_stream(); });
}

void Connection::answer_stream() {
  Response response = std::exchange(response_, {});
  drop_file(response);
  if (phase_ == Phase::closed) return;
  QUERN_ASSERT(phase_ == Phase::handling && !is_bodyless(response.status));
  // Before 1.1 only the end of the connection ends a body of unknown length.
  decide_close(response.close || !head_.http11);
  append_head(response, std::nullopt, head_.http11);
  phase_ = Phase::streaming;
}

bool Connection::is_stream_open() const {
  const std::scoped_lock lock(stream_mutex_);
  return stream_.open;
}

bool Connection::write_stream(std::string bytes) {
  std::unique_lock lock(stream_mutex_);
  if (!stream_.open) return false;
  if (stream_.pending.size() >= kStreamPendingBytesMax) {
    stream_.open = false;
    stream_.overrun = true;
  } else if (stream_.pending.empty()) {
    stream_.pending = std::move(bytes);
  } else {
    stream_.pending.append(bytes);
  }
  const bool ok = stream_.open;
  schedule_stream(std::move(lock));
  return ok;
}

void Connection::end_stream(StreamEnd end) {
  std::unique_lock lock(stream_mutex_);
  stream_.open = false;
  stream_.ended = end;
  schedule_stream(std::move(lock));
}

void Connection::schedule_stream(std::unique_lock<std::mutex> lock) {
  if (std::exchange(stream_.scheduled, true)) return;
  lock.unlock();
  dispatch([] {});  // entering flushes
}

bool Connection::step_stream() {
  const bool can_write = !writing_ && outbox_.size() < kCoalesceBytesMax;
  std::string bytes;
  std::optional<StreamEnd> ended;
  bool overrun = false;
  {
    const std::scoped_lock lock(stream_mutex_);
    stream_.scheduled = false;
    overrun = stream_.overrun;
    if (can_write) {
      bytes.swap(stream_.pending);
      ended = stream_.ended;
    }
  }
  if (overrun) {  // bytes are missing, so the body must not seem whole
    // Not now: whoever is writing may hold a lock that its on_disconnect() takes.
    io_->post([keep = shared_from_this()] { keep->close(); });
    return false;
  }
  append_stream_bytes(bytes);
  if (!ended) return false;
  if (*ended == StreamEnd::cut_short) {
    close_after_ = true;  // what comes after the missing chunk would be taken for it
  } else if (head_.http11 && !is_head_only_) {
    outbox_.append("0\r\n\r\n");
  }
  end_answer();
  return true;
}

void Connection::append_stream_bytes(std::string_view bytes) {
  if (bytes.empty() || is_head_only_) return;
  if (!head_.http11) {
    outbox_.append(bytes);
    return;
  }
  std::array<char, 16> size;
  const auto end = std::to_chars(size.data(), size.data() + size.size(), bytes.size(), 16).ptr;
  outbox_.append(size.data(), end).append("\r\n").append(bytes).append("\r\n");
}

void Connection::lose_stream() {
  std::string dropped;
  const std::scoped_lock lock(stream_mutex_);
  stream_.open = false;
  stream_.peer_gone = true;
  stream_.pending.swap(dropped);
}

}  // namespace quern::http
