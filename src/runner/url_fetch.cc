#include "runner/url_fetch.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <utility>

#include "artifact/file_ops.h"
#include "base/assert.h"
#include "base/units.h"

namespace quern {

namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr int kPollMillisecondsMax = 1000;
constexpr std::string_view kSchemes = "http,https";

struct FreeEasy {
  void operator()(CURL* easy) const { ::curl_easy_cleanup(easy); }
};
struct FreeMulti {
  void operator()(CURLM* multi) const { ::curl_multi_cleanup(multi); }
};
using Easy = std::unique_ptr<CURL, FreeEasy>;
using Multi = std::unique_ptr<CURLM, FreeMulti>;

void init_curl_once() {
  static const CURLcode done = ::curl_global_init(CURL_GLOBAL_DEFAULT);
  QUERN_ASSERT(done == CURLE_OK);
}

/// One fetch, as libcurl's callbacks see it.
struct Transfer {
  const UrlFetchOptions& options;
  int fd;
  CURL* easy = nullptr;
  std::uint64_t bytes = 0;
  SteadyClock::time_point last_news = SteadyClock::now();
  bool is_address_refused = false;
  Result<void> written;  // the first failure of keeping the body
};

// The address is judged where the socket is made for it: nothing is resolved again in between.
curl_socket_t open_socket(void* context, curlsocktype, curl_sockaddr* address) {
  auto& transfer = *static_cast<Transfer*>(context);
  if (!transfer.options.address_rule(address->addr)) {
    transfer.is_address_refused = true;
    return CURL_SOCKET_BAD;
  }
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

long status_of(CURL* easy) {
  long status = 0;
  ::curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  return status;
}

bool is_success(long status) { return status >= 200 && status <= 299; }

// Of the body that comes; -1 if it was not told.
curl_off_t told_length(CURL* easy) {
  curl_off_t bytes = -1;
  ::curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &bytes);
  return bytes;
}

// The size is judged here and not by CURLOPT_MAXFILESIZE, which would refuse the page of a redirect
// or of an error for its length, whatever the status says.
std::size_t write_body(const char* data, std::size_t, std::size_t size, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  transfer.last_news = SteadyClock::now();
  // What else an answer says is nobody's business. An error page ends the fetch: the status was
  // told.
  if (!is_success(status_of(transfer.easy))) return 0;
  const UrlFetchOptions& options = transfer.options;
  if (size > options.bytes_max - transfer.bytes ||
      std::cmp_greater(told_length(transfer.easy), options.bytes_max)) {
    transfer.written =
        fail(ErrorCode::too_large, "the file is larger than " + format_bytes(options.bytes_max));
  } else {
    transfer.written = write_all(transfer.fd, {data, size});
    transfer.bytes += size;
  }
  return transfer.written ? size : 0;
}

std::size_t note_header(const char*, std::size_t, std::size_t size, void* context) {
  static_cast<Transfer*>(context)->last_news = SteadyClock::now();
  return size;
}

template <typename Value>
void set(CURL* easy, CURLoption option, Value value) {
  const CURLcode done = ::curl_easy_setopt(easy, option, value);
  QUERN_ASSERT(done == CURLE_OK);
}

void set_up(CURL* easy, const std::string& url, Transfer& transfer) {
  const UrlFetchOptions& options = transfer.options;
  set(easy, CURLOPT_URL, url.c_str());
  set(easy, CURLOPT_USERAGENT, "quern");
  set(easy, CURLOPT_PROTOCOLS_STR, kSchemes.data());
  set(easy, CURLOPT_REDIR_PROTOCOLS_STR, kSchemes.data());
  set(easy, CURLOPT_FOLLOWLOCATION, 1L);
  set(easy, CURLOPT_MAXREDIRS, static_cast<long>(options.redirects_max));
  set(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
  set(easy, CURLOPT_PROXY, "");  // a proxy would connect for us, past the guard
  set(easy, CURLOPT_NOSIGNAL, 1L);
  set(easy, CURLOPT_QUICK_EXIT, 1L);  // a stop does not wait for a name that resolves slowly
  set(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(options.timeout.count()));
  set(easy, CURLOPT_OPENSOCKETFUNCTION, &open_socket);
  set(easy, CURLOPT_OPENSOCKETDATA, &transfer);
  set(easy, CURLOPT_WRITEFUNCTION, &write_body);
  set(easy, CURLOPT_WRITEDATA, &transfer);
  set(easy, CURLOPT_HEADERFUNCTION, &note_header);
  set(easy, CURLOPT_HEADERDATA, &transfer);
}

/// Removes the transfer before either handle goes.
class Attached {
 public:
  Attached(CURLM* multi, CURL* easy) : multi_(multi), easy_(easy) {
    QUERN_ASSERT(::curl_multi_add_handle(multi_, easy_) == CURLM_OK);
  }
  ~Attached() { ::curl_multi_remove_handle(multi_, easy_); }
  Attached(const Attached&) = delete;
  Attached& operator=(const Attached&) = delete;

 private:
  CURLM* multi_;
  CURL* easy_;
};

/// Runs the transfer to its end. An idle or stopped one ends as CURLE_OPERATION_TIMEDOUT or
/// CURLE_ABORTED_BY_CALLBACK.
CURLcode run(CURLM* multi, const Transfer& transfer, const std::stop_token& stop) {
  const std::stop_callback wake(stop, [multi] { ::curl_multi_wakeup(multi); });
  const auto idle_max = transfer.options.idle_timeout;
  while (!stop.stop_requested()) {
    int running = 0;
    if (::curl_multi_perform(multi, &running) != CURLM_OK) return CURLE_OUT_OF_MEMORY;
    int left = 0;
    const CURLMsg* message = ::curl_multi_info_read(multi, &left);
    if (message != nullptr) return message->data.result;
    const auto idle = std::chrono::duration_cast<std::chrono::milliseconds>(SteadyClock::now() -
                                                                            transfer.last_news);
    if (idle >= idle_max) return CURLE_OPERATION_TIMEDOUT;
    const auto wait =
        std::min<std::chrono::milliseconds::rep>((idle_max - idle).count(), kPollMillisecondsMax);
    ::curl_multi_poll(multi, nullptr, 0, static_cast<int>(wait), nullptr);
  }
  return CURLE_ABORTED_BY_CALLBACK;
}

using Reason = std::pair<long, std::string_view>;
constexpr auto kReasons = std::to_array<Reason>({
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {410, "Gone"},
    {429, "Too Many Requests"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
});

std::unexpected<Error> status_failure(long status) {
  std::string message = fmt::format("HTTP {}", status);
  const auto* reason = std::ranges::find(kReasons, status, &Reason::first);
  if (reason != kReasons.end()) message.append(" ").append(reason->second);
  const bool may_pass = status >= 500 || status == 429 || status == 408;
  return fail(may_pass ? ErrorCode::unavailable : ErrorCode::invalid_argument, std::move(message));
}

std::unexpected<Error> connection_failure(CURLcode code, const Transfer& transfer) {
  const UrlFetchOptions& options = transfer.options;
  // Whatever else failed, the caller learns no more than this about an address that is not his to
  // ask.
  if (transfer.is_address_refused) {
    return fail(ErrorCode::invalid_argument, "the address is not public");
  }
  switch (code) {
    case CURLE_ABORTED_BY_CALLBACK:
      return fail(ErrorCode::unavailable, "stopped");
    case CURLE_OPERATION_TIMEDOUT:
      return fail(ErrorCode::unavailable, "timeout");
    case CURLE_URL_MALFORMAT:
      return fail(ErrorCode::invalid_argument, "malformed URL, or not http or https");
    case CURLE_UNSUPPORTED_PROTOCOL:  // a redirect to another scheme, or an answer that is no HTTP
      return fail(ErrorCode::invalid_argument, "what answers there is not http or https");
    case CURLE_LOGIN_DENIED:
      return fail(ErrorCode::invalid_argument, "the URL holds a user name");
    case CURLE_TOO_MANY_REDIRECTS:
      return fail(ErrorCode::invalid_argument,
                  fmt::format("more than {} redirects", options.redirects_max));
    case CURLE_PEER_FAILED_VERIFICATION:
      return fail(ErrorCode::invalid_argument, "the server's certificate is not valid");
    case CURLE_COULDNT_RESOLVE_HOST:
      return fail(ErrorCode::unavailable, "the host name does not resolve");
    case CURLE_COULDNT_CONNECT:
      return fail(ErrorCode::unavailable, "no connection");
    default:
      return fail(ErrorCode::unavailable, ::curl_easy_strerror(code));
  }
}

}  // namespace

bool is_http_url(std::string_view text) {
  const auto begins_with = [text](std::string_view scheme) {
    return text.size() > scheme.size() &&
           std::ranges::equal(text.substr(0, scheme.size()), scheme, {},
                              [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
  };
  return begins_with("http://") || begins_with("https://");
}

Result<std::uint64_t> fetch_url(const std::string& url, int fd, const UrlFetchOptions& options,
                                std::stop_token stop) {
  if (url.size() > options.url_bytes_max) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("the URL is longer than {} bytes", options.url_bytes_max));
  }
  if (!is_http_url(url) || url.find('\0') != std::string::npos) {
    return connection_failure(CURLE_URL_MALFORMAT, Transfer{.options = options, .fd = fd});
  }
  init_curl_once();
  const Multi multi(::curl_multi_init());
  const Easy easy(::curl_easy_init());
  if (!multi || !easy) return fail(ErrorCode::unavailable, "out of memory");

  Transfer transfer{.options = options, .fd = fd, .easy = easy.get()};
  set_up(easy.get(), url, transfer);
  const Attached attached(multi.get(), easy.get());
  const CURLcode code = run(multi.get(), transfer, stop);
  if (code == CURLE_WRITE_ERROR && !transfer.written) return fail(std::move(transfer.written));
  const bool is_answered = code == CURLE_OK || code == CURLE_WRITE_ERROR;
  if (!is_answered) return connection_failure(code, transfer);
  if (!is_success(status_of(easy.get()))) return status_failure(status_of(easy.get()));
  return transfer.bytes;
}

}  // namespace quern
