// GET /files/<key>/<name>: outputs and uploads, to whoever knows the key.
//
// What is served was made by models or uploaded by callers, so a browser must never run it in this
// origin: no sniffing, a sandbox, and a download for everything that is not plainly a picture, a
// film, a sound or text.

#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "api/byte_range.h"
#include "api/errors.h"
#include "api/handlers.h"
#include "artifact/artifact_store.h"
#include "base/percent_encode.h"
#include "base/utf8.h"

namespace quern::api {
namespace {

// Uploads may be replaced under the same URL, so copies are asked after now and then.
constexpr std::string_view kFileHeaders =
    "Accept-Ranges: bytes\r\n"
    "Cache-Control: private, max-age=300\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Content-Security-Policy: sandbox; default-src 'none'; img-src 'self'; media-src 'self'; "
    "style-src 'unsafe-inline'\r\n"
    "Cross-Origin-Resource-Policy: cross-origin\r\n";

bool is_shown_inline(std::string_view content_type) {
  const std::string_view type = content_type.substr(0, content_type.find(';'));
  if (type == "image/svg+xml") return false;  // can hold scripts
  return type.starts_with("image/") || type.starts_with("video/") || type.starts_with("audio/") ||
         type == "text/plain";
}

// What it begins with is looked at; a character may be cut off at the end of that.
bool is_utf8(int fd) {
  std::array<char, 64 * 1024> head;
  const ssize_t got = ::pread(fd, head.data(), head.size(), 0);
  if (got < 0) return false;
  const std::string_view text(head.data(), static_cast<std::size_t>(got));
  const std::size_t invalid = find_invalid_utf8(text);
  return invalid == std::string_view::npos ||
         (text.size() == head.size() && text.size() - invalid < 4);
}

// A browser takes a text for windows-1252 unless it is told. Other texts than UTF-8 stay for it to guess.
std::string header_type(const OpenFile& file) {
  const bool is_text = file.content_type.starts_with("text/");
  return is_text && is_utf8(file.fd) ? file.content_type + "; charset=utf-8" : file.content_type;
}

std::string http_date(WallTime time) {
  static constexpr std::array kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  using namespace std::chrono;
  const auto day = floor<days>(time);
  const year_month_day date{day};
  const hh_mm_ss clock{floor<seconds>(time - day)};
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[weekday{day}.c_encoding()],
                     static_cast<unsigned>(date.day()),
                     kMonths[static_cast<unsigned>(date.month()) - 1],
                     static_cast<int>(date.year()), clock.hours().count(), clock.minutes().count(),
                     clock.seconds().count());
}

// In one of the three forms of RFC 9110, 5.6.7. Anything else is no date, and what it is in counts as
// absent.
std::optional<WallTime> read_http_date(std::string_view text) {
  const std::string whole(text);
  for (const char* form :
       {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"}) {
    std::tm date{};
    const char* const end = ::strptime(whole.c_str(), form, &date);
    if (end == nullptr || *end != '\0') continue;
    return WallTime(std::chrono::seconds(::timegm(&date)));
  }
  return std::nullopt;
}

// One of the listed tags is `etag`; a weak one is only where `weak` ones count.
bool lists_etag(std::string_view list, std::string_view etag, bool weak) {
  if (list == "*") return true;
  while (!list.empty()) {
    std::string_view item = list.substr(0, list.find(','));
    list.remove_prefix(std::min(item.size() + 1, list.size()));
    const std::size_t begin = item.find_first_not_of(" \t");
    if (begin == std::string_view::npos) continue;
    item = item.substr(begin, item.find_last_not_of(" \t") - begin + 1);
    if (weak && item.starts_with("W/")) item.remove_prefix(2);
    if (item == etag) return true;
  }
  return false;
}

http::Response file_head(const Call& call, unsigned status, const OpenFile& file) {
  http::Response response = make_response(call, status, "");
  response.add_header("ETag", file.etag).add_header("Last-Modified", http_date(file.modified));
  response.head += kFileHeaders;
  return response;
}

void add_content_headers(http::Response& response, const OpenFile& file, std::string_view name) {
  response.add_header("Content-Type", header_type(file));
  response.add_header("Content-Disposition",
                      fmt::format("{}; filename*=UTF-8''{}",
                                  is_shown_inline(file.content_type) ? "inline" : "attachment",
                                  percent_encode(name)));
}

http::Response unsatisfiable(const Call& call, const OpenFile& file) {
  http::Response response = make_json(call, 416, detail_body("Range Not Satisfiable"));
  response.add_header("Content-Range", fmt::format("bytes */{}", file.bytes));
  return response;
}

http::Response part_of(const Call& call, const OpenFile& file, const ByteRange& range) {
  http::Response response = file_head(call, 206, file);
  response.add_header("Content-Range", fmt::format("bytes {}-{}/{}", range.offset,
                                                   range.offset + range.bytes - 1, file.bytes));
  response.file = http::FileBody{file.fd, range.offset, range.bytes};
  add_content_headers(response, file, call.param(1));
  return response;
}

http::Response whole(const Call& call, const OpenFile& file) {
  http::Response response = file_head(call, 200, file);
  response.file = http::FileBody{file.fd, 0, file.bytes};
  add_content_headers(response, file, call.param(1));
  return response;
}

http::Response precondition_failed(const Call& call, const OpenFile& file) {
  http::Response response = make_json(call, 412, detail_body("Precondition Failed"));
  response.add_header("ETag", file.etag);
  return response;
}

bool was_modified_after(const OpenFile& file, std::string_view date) {
  const auto since = read_http_date(date);
  return since && std::chrono::floor<std::chrono::seconds>(file.modified) > *since;
}

// The file is still what the caller wants to go on with.
bool is_as_expected(const RequestHeads& heads, const OpenFile& file) {
  if (!heads.if_match.empty()) return lists_etag(heads.if_match, file.etag, false);
  return heads.if_unmodified_since.empty() || !was_modified_after(file, heads.if_unmodified_since);
}

// The caller has this very version.
bool is_known(const RequestHeads& heads, const OpenFile& file) {
  if (!heads.if_none_match.empty()) return lists_etag(heads.if_none_match, file.etag, true);
  return read_http_date(heads.if_modified_since).has_value() &&
         !was_modified_after(file, heads.if_modified_since);
}

// In the order of RFC 9110, 13.2.2.
http::Response serve(const Call& call, const OpenFile& file) {
  if (!is_as_expected(call.heads, file)) return precondition_failed(call, file);
  if (is_known(call.heads, file)) return file_head(call, 304, file);
  // A range of another version than the caller has would be spliced into nonsense.
  const bool same_version = call.heads.if_range.empty() || call.heads.if_range == file.etag;
  const bool has_ranges = call.request().method == http::Method::get;
  const ByteRange range =
      has_ranges && same_version ? parse_range(call.heads.range, file.bytes) : ByteRange{};
  switch (range.kind) {
    case ByteRange::Kind::part:
      return part_of(call, file, range);
    case ByteRange::Kind::unsatisfiable:
      return unsatisfiable(call, file);
    case ByteRange::Kind::whole:
      return whole(call, file);
  }
  return whole(call, file);
}

void open_and_serve(CallPtr call) {
  const Result<OpenFile> file =
      call->context.deps.artifacts.open_file(call->param(0), call->param(1));
  if (!file && file.error().code == ErrorCode::unavailable)
    return answer_unavailable(std::move(call), file.error().retry_after);
  if (!file) return answer_fault(std::move(call), kNotFound);
  http::Response response = serve(*call, *file);
  if (!response.file) ::close(file->fd);
  answer(std::move(call), std::move(response));
}

}  // namespace

void get_file(CallPtr call) { run_blocking(std::move(call), open_and_serve); }

}  // namespace quern::api
