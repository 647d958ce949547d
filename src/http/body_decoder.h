#pragma once
// From bytes to a request's body: counted by Content-Length, or in chunks.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "http/head_parser.h"

namespace quern::http {

inline constexpr std::size_t kChunkLineBytesMax = 1024;  // a chunk's size with its extensions
inline constexpr std::size_t kTrailerBytesMax =
    8 * 1024;  // all trailers together; they are ignored

/// Operation: start(), then decode() what has arrived, again and again, until is_done().
class BodyDecoder {
 public:
  struct Piece {
    std::size_t consumed = 0;      // of the bytes given
    std::string_view payload;      // the body's part in them, a view of them
    const Fault* fault = nullptr;  // the body is malformed: refuse the request
  };

  void start_length(std::uint64_t bytes);
  void start_chunked();

  /// Takes what it can in one go: up to the end of one run of payload. An empty piece that consumed
  /// nothing wants more bytes, unless is_done().
  Piece decode(std::string_view bytes);

  [[nodiscard]] bool is_done() const { return state_ == State::done; }
  /// How many bytes are still to come, as far as is known: of the whole body by length, else 0.
  [[nodiscard]] std::uint64_t bytes_left() const { return is_chunked_ ? 0 : left_; }

 private:
  enum class State : std::uint8_t {
    done,
    data,         // `left_` bytes of payload follow
    size_first,   // the first digit of a chunk's size
    size,         // further digits
    size_blank,   // white space behind the size
    extension,    // up to the end of the line
    size_end,     // LF
    data_end_cr,  // CR LF behind a chunk's payload
    data_end_lf,
    trailer_start,  // of a line
    trailer,        // within a line
    trailer_end,    // LF of a line
    final_end,      // LF of the empty line that ends it all
  };

  const Fault* step(char c);
  const Fault* step_size(char c);
  const Fault* step_after_size(char c);
  const Fault* step_trailer(char c);
  const Fault* finish_size();
  const Fault* expect(char c, char wanted, State next);

  std::uint64_t left_ = 0;
  std::uint32_t line_bytes_ = 0;
  State state_ = State::done;
  bool is_chunked_ = false;
};

}  // namespace quern::http
