#include "api/multipart.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/ascii.h"
#include "base/utf8.h"
#include "http/message.h"

namespace quern::api {
namespace {

constexpr std::size_t kPartHeadBytesMax = 16 * 1024;
constexpr std::size_t kPreambleBytesMax = 16 * 1024;
constexpr std::size_t kBoundaryBytesMax = 70;  // RFC 2046

std::string_view trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// Reads a token or a quoted string from the front of `text`.
std::string take_value(std::string_view& text) {
  std::string value;
  if (!text.starts_with('"')) {
    const std::string_view token = text.substr(0, text.find(';'));
    text.remove_prefix(token.size());
    return std::string(trim(token));
  }
  text.remove_prefix(1);
  while (!text.empty() && text.front() != '"') {
    // Only these: browsers that send C:\new\file.txt leave its backslashes as they are.
    if (text.starts_with("\\\"") || text.starts_with("\\\\")) text.remove_prefix(1);
    value += text.front();
    text.remove_prefix(1);
  }
  if (!text.empty()) text.remove_prefix(1);
  return value;
}

std::string_view find_line(std::string_view head, std::string_view name) {
  while (!head.empty()) {
    const std::string_view line = head.substr(0, head.find("\r\n"));
    head.remove_prefix(std::min(line.size() + 2, head.size()));
    const std::size_t colon = line.find(':');
    if (colon != std::string_view::npos && equals_ignoring_case(line.substr(0, colon), name))
      return trim(line.substr(colon + 1));
  }
  return {};
}

// UTF-8'language'percent-encoded (RFC 8187). Other charsets are rarely sent, and never alone.
std::optional<std::string> decode_extended(std::string_view value) {
  const std::size_t charset = value.find('\'');
  const std::size_t language = value.find('\'', charset + 1);
  if (charset == std::string_view::npos || language == std::string_view::npos) return std::nullopt;
  if (!equals_ignoring_case(value.substr(0, charset), "UTF-8")) return std::nullopt;
  auto text = http::percent_decode(value.substr(language + 1));
  if (!text || text->empty() || find_invalid_utf8(*text) != std::string::npos) return std::nullopt;
  return text;
}

std::unexpected<Error> malformed(std::string_view what) {
  return fail(ErrorCode::invalid_argument, "Malformed multipart body: " + std::string(what));
}

}  // namespace

std::optional<std::string> header_parameter(std::string_view header, std::string_view name) {
  std::size_t semicolon = header.find(';');
  while (semicolon != std::string_view::npos) {
    header = trim(header.substr(semicolon + 1));
    const std::size_t equals = header.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    const std::string_view found = trim(header.substr(0, equals));
    header = trim(header.substr(equals + 1));
    std::string value = take_value(header);
    if (equals_ignoring_case(found, name)) return value;
    semicolon = header.find(';');
  }
  return std::nullopt;
}

std::string disposition_file_name(std::string_view disposition) {
  if (const auto extended = header_parameter(disposition, "filename*")) {
    if (auto name = decode_extended(*extended)) return *std::move(name);
  }
  return header_parameter(disposition, "filename").value_or("");
}

bool is_form_data(std::string_view content_type) {
  return equals_ignoring_case(trim(content_type.substr(0, content_type.find(';'))),
                              "multipart/form-data");
}

std::optional<std::string> multipart_boundary(std::string_view content_type) {
  if (!is_form_data(content_type)) return std::nullopt;
  auto boundary = header_parameter(content_type, "boundary");
  if (!boundary || boundary->empty() || boundary->size() > kBoundaryBytesMax) return std::nullopt;
  return boundary;
}

MultipartReader::MultipartReader(std::string_view boundary, std::string field, Target target)
    : delimiter_("\r\n--" + std::string(boundary)),
      field_(std::move(field)),
      target_(std::move(target)) {}

Result<void> MultipartReader::feed(std::string_view bytes) {
  if (state_ == State::epilogue) return {};
  pending_ += bytes;
  for (;;) {
    const Result<bool> went_on = step();
    if (!went_on) return std::unexpected(went_on.error());
    if (overhead_bytes_ > kMultipartOverheadMax)
      return fail(ErrorCode::invalid_argument,
                  fmt::format("The multipart body holds more than {} KiB beside the field \"{}\"",
                              kMultipartOverheadMax / 1024, field_));
    if (!*went_on) break;
  }
  pending_.erase(0, read_);  // once a call: what stays is moved to the front
  read_ = 0;
  return {};
}

std::string_view MultipartReader::unread() const {
  return std::string_view(pending_).substr(read_);
}

void MultipartReader::skip(std::size_t bytes) {
  read_ += bytes;
  overhead_bytes_ += bytes;
}

Result<bool> MultipartReader::step() {
  switch (state_) {
    case State::preamble:
      return find_first_delimiter();
    case State::after_delimiter:
      return read_after_delimiter();
    case State::head:
      return read_head();
    case State::content:
      return read_content();
    case State::epilogue:
      read_ = pending_.size();
      return false;
  }
  return false;
}

Result<bool> MultipartReader::find_first_delimiter() {
  const std::size_t at = unread().find(delimiter_);
  if (at == std::string_view::npos) {
    if (unread().size() > kPreambleBytesMax) return malformed("no boundary");
    return false;
  }
  skip(at + delimiter_.size());
  state_ = State::after_delimiter;
  return true;
}

// Behind a boundary: the end of its line, or two dashes after the last one.
Result<bool> MultipartReader::read_after_delimiter() {
  const std::string_view bytes = unread();
  const std::size_t text = std::min(bytes.find_first_not_of(" \t"), bytes.size());
  if (text > kBoundaryBytesMax) return malformed("text behind a boundary");
  if (bytes.size() - text < 2) return false;
  const std::string_view end = bytes.substr(text, 2);
  if (end == "--" && text == 0) {
    state_ = State::epilogue;
    return true;
  }
  if (end != "\r\n") return malformed("text behind a boundary");
  skip(text);  // the line end stays: an empty head begins with it
  state_ = State::head;
  return true;
}

Result<bool> MultipartReader::read_head() {
  const std::string_view bytes = unread();
  const std::size_t end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos || end > kPartHeadBytesMax) {
    if (bytes.size() > kPartHeadBytesMax) return malformed("the head of a part is too long");
    return false;
  }
  const std::string_view disposition =
      find_line(bytes.substr(0, end).substr(std::min<std::size_t>(2, end)), "content-disposition");
  const auto name = header_parameter(disposition, "name");
  wanted_ = !has_file_ && name && *name == field_;
  if (wanted_) {
    has_file_ = true;
    auto begun = target_.begin(disposition_file_name(disposition));
    if (!begun) return std::unexpected(begun.error());
  }
  skip(end + 4);
  state_ = State::content;
  return true;
}

Result<bool> MultipartReader::read_content() {
  const std::string_view bytes = unread();
  const std::size_t at = bytes.find(delimiter_);
  // A delimiter may have begun in the last bytes.
  const std::size_t sure = at != std::string_view::npos
                               ? at
                               : bytes.size() - std::min(bytes.size(), delimiter_.size() - 1);
  if (wanted_ && sure > 0) {
    auto written = target_.write(bytes.substr(0, sure));
    if (!written) return std::unexpected(written.error());
  }
  if (wanted_)
    read_ += sure;
  else
    skip(sure);
  if (at == std::string_view::npos) return false;
  skip(delimiter_.size());
  state_ = State::after_delimiter;
  return true;
}

}  // namespace quern::api
