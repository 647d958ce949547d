#pragma once
// HTTP exchanges over libcurl, with connections kept for the next one.

#include <curl/curl.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace quern::client {

struct Call {
  std::string method = "GET";
  std::string url;
  std::vector<std::string> headers;  // "Name: value"
  std::string body;
  std::string upload_file;  // not empty: sent as the multipart field `file` instead of `body`
  std::function<bool(const char*, std::size_t)>
      sink;  // takes a 2xx body piece by piece; false: stop. Else it is kept
  std::function<void(std::uint64_t, std::uint64_t)>
      progress;  // bytes received so far, and in all (0: unknown)
};

struct Answer {
  int status = 0;  // 0: no answer came, `failure` says why
  std::string body;
  std::string failure;
  bool stopped = false;                      // by the stop token
  bool sink_failed = false;                  // the sink said false
  std::chrono::milliseconds retry_after{0};  // as the server asks, at most a minute
};

struct TransportOptions {
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds request_timeout{
      90'000};  // a download may take longer while bytes arrive
  std::string user_agent;
};

/// Threads: any.
class Transport {
 public:
  explicit Transport(TransportOptions options);
  ~Transport();
  Answer exchange(const Call& call, std::stop_token stop);

 private:
  CURL* take_handle();
  void give_back(CURL* handle);

  TransportOptions options_;
  std::mutex mutex_;  // guards idle_
  std::vector<CURL*> idle_;
};

}  // namespace quern::client
