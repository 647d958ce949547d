#include "http/body_decoder.h"

#include <algorithm>

namespace quern::http {
namespace {

constexpr Fault kBadChunk{400, "Malformed chunk"};
constexpr Fault kBadTrailer{400, "Malformed trailer"};
constexpr Fault kTrailerTooLarge{431, "Trailers too large"};

constexpr std::uint64_t kChunkBytesMax = std::uint64_t{1} << 56U;  // far from overflowing

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_control(char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; }

}  // namespace

void BodyDecoder::start_length(std::uint64_t bytes) {
  is_chunked_ = false;
  left_ = bytes;
  state_ = bytes == 0 ? State::done : State::data;
}

void BodyDecoder::start_chunked() {
  is_chunked_ = true;
  left_ = 0;
  line_bytes_ = 0;
  state_ = State::size_first;
}

BodyDecoder::Piece BodyDecoder::decode(std::string_view bytes) {
  Piece piece;
  while (state_ != State::data && state_ != State::done && piece.consumed < bytes.size()) {
    piece.fault = step(bytes[piece.consumed++]);
    if (piece.fault != nullptr) return piece;
  }
  if (state_ != State::data) return piece;
  piece.payload = bytes.substr(piece.consumed, std::min<std::uint64_t>(left_, bytes.size()));
  piece.consumed += piece.payload.size();
  left_ -= piece.payload.size();
  if (left_ == 0) state_ = is_chunked_ ? State::data_end_cr : State::done;
  return piece;
}

const Fault* BodyDecoder::expect(char c, char wanted, State next) {
  if (c != wanted) return &kBadChunk;
  state_ = next;
  return nullptr;
}

const Fault* BodyDecoder::finish_size() {
  line_bytes_ = 0;
  state_ = left_ == 0 ? State::trailer_start : State::data;
  return nullptr;
}

const Fault* BodyDecoder::step_size(char c) {
  if (++line_bytes_ > kChunkLineBytesMax) return &kBadChunk;
  const int digit = hex_digit(c);
  if (digit >= 0) {
    left_ = left_ * 16 + static_cast<unsigned>(digit);
    state_ = State::size;
    return left_ < kChunkBytesMax ? nullptr : &kBadChunk;
  }
  if (state_ == State::size_first) return &kBadChunk;
  return step_after_size(c);
}

// An extension begins with ';', after white space at most.
const Fault* BodyDecoder::step_after_size(char c) {
  const bool is_blank = c == ' ' || c == '\t';
  if (c == '\r') {
    state_ = State::size_end;
  } else {
    state_ = is_blank ? State::size_blank : State::extension;
  }
  return is_blank || c == ';' || c == '\r' ? nullptr : &kBadChunk;
}

const Fault* BodyDecoder::step_trailer(char c) {
  if (++line_bytes_ > kTrailerBytesMax) return &kTrailerTooLarge;
  if (c == '\r') {
    state_ = state_ == State::trailer_start ? State::final_end : State::trailer_end;
    return nullptr;
  }
  state_ = State::trailer;
  return is_control(c) ? &kBadTrailer : nullptr;
}

const Fault* BodyDecoder::step(char c) {
  switch (state_) {
    case State::size_first:
    case State::size:
      return step_size(c);
    case State::size_blank:
      return ++line_bytes_ > kChunkLineBytesMax ? &kBadChunk : step_after_size(c);
    case State::extension:
      if (++line_bytes_ > kChunkLineBytesMax || (is_control(c) && c != '\r')) return &kBadChunk;
      if (c == '\r') state_ = State::size_end;
      return nullptr;
    case State::size_end:
      return c == '\n' ? finish_size() : &kBadChunk;
    case State::data_end_cr:
      return expect(c, '\r', State::data_end_lf);
    case State::data_end_lf:
      return expect(c, '\n', State::size_first);
    case State::trailer_start:
    case State::trailer:
      return step_trailer(c);
    case State::trailer_end:
      return expect(c, '\n', State::trailer_start);
    case State::final_end:
      return expect(c, '\n', State::done);
    case State::done:
    case State::data:
      break;
  }
  return nullptr;
}

}  // namespace quern::http
