#include "client/transport.h"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace quern::client {
namespace {

constexpr std::size_t kIdleHandlesMax = 16;
constexpr std::chrono::seconds kRetryAfterMax{60};
constexpr std::size_t kBodyBytesMax = 64 << 20;  // of an answer that is kept in memory

// What the callbacks of one exchange share.
struct Flight {
  CURL* handle = nullptr;
  const Call& call;
  Answer& answer;
  const std::stop_token& stop;
};

bool is_success(CURL* handle) {
  long status = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  return status >= 200 && status < 300;
}

std::size_t on_body(char* data, std::size_t, std::size_t bytes, void* user) {
  Flight& flight = *static_cast<Flight*>(user);
  if (flight.call.sink && is_success(flight.handle)) {
    if (flight.call.sink(data, bytes)) return bytes;
    flight.answer.sink_failed = true;
    return 0;
  }
  if (flight.answer.body.size() + bytes > kBodyBytesMax) return 0;
  flight.answer.body.append(data, bytes);
  return bytes;
}

// Whole seconds; a date, which Quern does not send, reads as 0. A server must not put its caller to
// sleep for a day.
std::chrono::seconds read_retry_after(std::string_view text) {
  std::uint32_t seconds = 0;
  const std::errc error = std::from_chars(text.data(), text.data() + text.size(), seconds).ec;
  if (error == std::errc::result_out_of_range) return kRetryAfterMax;
  return std::min(std::chrono::seconds{seconds}, kRetryAfterMax);
}

std::size_t on_header(char* data, std::size_t, std::size_t bytes, void* user) {
  static constexpr std::string_view kName = "retry-after:";
  std::string_view line(data, bytes);
  const auto same = [](char a, char b) { return (a | 0x20) == b || a == b; };
  if (line.size() <= kName.size() || !std::equal(kName.begin(), kName.end(), line.begin(),
                                                 [&](char b, char a) { return same(a, b); })) {
    return bytes;
  }
  line.remove_prefix(kName.size());
  while (line.starts_with(' ')) line.remove_prefix(1);
  static_cast<Flight*>(user)->answer.retry_after = read_retry_after(line);
  return bytes;
}

int on_progress(void* user, curl_off_t total, curl_off_t now, curl_off_t, curl_off_t) {
  Flight& flight = *static_cast<Flight*>(user);
  if (flight.stop.stop_requested()) {
    flight.answer.stopped = true;
    return 1;
  }
  if (flight.call.progress && is_success(flight.handle)) {
    flight.call.progress(static_cast<std::uint64_t>(now), static_cast<std::uint64_t>(total));
  }
  return 0;
}

struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
struct MimeDeleter {
  void operator()(curl_mime* mime) const { curl_mime_free(mime); }
};

std::unique_ptr<curl_slist, ListDeleter> make_headers(const Call& call) {
  // Without this, curl would wait a second for "100 Continue" before each larger body.
  curl_slist* list = curl_slist_append(nullptr, "Expect:");
  for (const std::string& header : call.headers) list = curl_slist_append(list, header.c_str());
  return std::unique_ptr<curl_slist, ListDeleter>(list);
}

std::unique_ptr<curl_mime, MimeDeleter> make_upload(CURL* handle, const std::string& file) {
  std::unique_ptr<curl_mime, MimeDeleter> mime(curl_mime_init(handle));
  curl_mimepart* part = curl_mime_addpart(mime.get());
  curl_mime_name(part, "file");
  curl_mime_filedata(part, file.c_str());
  curl_easy_setopt(handle, CURLOPT_MIMEPOST, mime.get());
  return mime;
}

// An address without a scheme must not become ftp or file.
void allow_http_only(CURL* handle) {
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
}

}  // namespace

Transport::Transport(TransportOptions options) : options_(std::move(options)) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

Transport::~Transport() {
  for (CURL* handle : idle_) curl_easy_cleanup(handle);
}

CURL* Transport::take_handle() {
  const std::scoped_lock lock(mutex_);
  if (idle_.empty()) return curl_easy_init();
  CURL* handle = idle_.back();
  idle_.pop_back();
  return handle;
}

void Transport::give_back(CURL* handle) {
  const std::scoped_lock lock(mutex_);
  if (idle_.size() < kIdleHandlesMax) {
    curl_easy_reset(handle);  // keeps its connections
    idle_.push_back(handle);
  } else {
    curl_easy_cleanup(handle);
  }
}

Answer Transport::exchange(const Call& call, std::stop_token stop) {
  Answer answer;
  CURL* handle = take_handle();
  if (handle == nullptr) {
    answer.failure = "out of memory";
    return answer;
  }
  Flight flight{handle, call, answer, stop};
  char reason[CURL_ERROR_SIZE] = "";
  const auto headers = make_headers(call);
  std::unique_ptr<curl_mime, MimeDeleter> mime;

  allow_http_only(handle);
  curl_easy_setopt(handle, CURLOPT_URL, call.url.c_str());
  curl_easy_setopt(handle, CURLOPT_PATH_AS_IS, 1L);  // curl takes an escaped ".." for a step up
  curl_easy_setopt(handle, CURLOPT_USERAGENT, options_.user_agent.c_str());
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, reason);
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(options_.connect_timeout.count()));
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &flight);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &flight);
  curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &flight);
  if (call.sink || !call.upload_file.empty()) {
    // As long as bytes flow: a large file over a thin line is no failure.
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME,
                     static_cast<long>(options_.request_timeout.count() / 1000 + 1));
  } else {
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS,
                     static_cast<long>(options_.request_timeout.count()));
  }
  if (!call.upload_file.empty()) {
    mime = make_upload(handle, call.upload_file);
  } else if (call.method != "GET") {
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(call.body.size()));
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, call.body.data());
    curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, call.method.c_str());
  }

  const CURLcode code = curl_easy_perform(handle);
  long status = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  if (code == CURLE_OK) {
    answer.status = static_cast<int>(status);
  } else {
    answer.failure = *reason != '\0' ? reason : curl_easy_strerror(code);
  }
  give_back(handle);
  return answer;
}

}  // namespace quern::client
