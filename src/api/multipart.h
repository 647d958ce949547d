#pragma once
// multipart/form-data, read as its bytes come (RFC 7578): the file of one field goes on, everything
// else is passed over.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace quern::api {

/// A Content-Type header that says multipart/form-data.
bool is_form_data(std::string_view content_type);
/// Its boundary; nullopt if it has none of 1 to 70 bytes, or is not multipart/form-data.
std::optional<std::string> multipart_boundary(std::string_view content_type);
/// The value of a parameter of a header such as Content-Disposition, unquoted.
std::optional<std::string> header_parameter(std::string_view header, std::string_view name);
/// The file's name in a Content-Disposition: `filename*` (RFC 8187) before `filename`; empty if there is none.
std::string disposition_file_name(std::string_view disposition);

/// Bytes of a body beside the file: boundaries, heads, other fields.
inline constexpr std::uint64_t kMultipartOverheadMax = 64 * 1024;

/// Threads: one at a time. Keeps at most a part's head and a delimiter of what it was fed.
class MultipartReader {
 public:
  struct Target {
    /// The field begins; `file_name` as the caller gave it, or empty.
    std::function<Result<void>(std::string file_name)> begin;
    std::function<Result<void>(std::string_view bytes)> write;
  };

  /// Of several parts with this field name the first counts.
  MultipartReader(std::string_view boundary, std::string field, Target target);

  /// Errors: invalid_argument (not a multipart body, or more than kMultipartOverheadMax beside the field), and what
  /// the target says.
  Result<void> feed(std::string_view bytes);
  /// The last boundary has come.
  [[nodiscard]] bool is_complete() const { return state_ == State::epilogue; }
  [[nodiscard]] bool has_file() const { return has_file_; }

 private:
  enum class State : std::uint8_t { preamble, after_delimiter, head, content, epilogue };

  [[nodiscard]] std::string_view unread() const;
  void skip(std::size_t bytes);  // of what is no file
  Result<bool> step();           // false: more bytes are needed
  Result<bool> find_first_delimiter();
  Result<bool> read_after_delimiter();
  Result<bool> read_head();
  Result<bool> read_content();

  const std::string delimiter_;  // CRLF, two dashes, the boundary
  const std::string field_;
  Target target_;
  State state_ = State::preamble;
  std::string pending_ =
      "\r\n";             // so that a first delimiter at the very start looks like any other
  std::size_t read_ = 0;  // of pending_
  std::uint64_t overhead_bytes_ = 0;
  bool has_file_ = false;
  bool wanted_ = false;  // the part under way is the field
};

}  // namespace quern::api
