#pragma once
// Everything that a configuration file can say, with its defaults.

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "auth/api_key.h"
#include "base/log.h"
#include "catalog/model.h"
#include "http/server.h"

namespace quern {

struct Settings {
  // [server]
  http::ServerOptions http;
  std::string public_url;  // empty: from the Host header
  std::uint64_t body_bytes_max = 10 << 20;
  std::vector<std::string> cors_origins;
  std::vector<std::string> trusted_proxies;
  std::chrono::milliseconds drain_timeout{30'000};
  LogLevel log_level = LogLevel::info;

  // [store]
  std::filesystem::path data = "quern-data";  // absolute once loaded
  std::chrono::milliseconds lease_ttl{30'000};
  std::uint64_t result_cache_bytes = 64 << 20;

  // [retention]
  std::chrono::milliseconds results_ttl = std::chrono::hours{24};
  std::chrono::milliseconds uploads_ttl = std::chrono::hours{24};

  // [input]
  std::uint64_t input_file_bytes_max = 64 << 20;
  std::uint64_t upload_bytes_max = 1 << 30;
  std::uint64_t input_bytes_max = 4ULL << 30U;
  std::chrono::milliseconds fetch_timeout{30'000};
  bool allow_private_urls = false;

  std::vector<ApiKey> keys;
  std::vector<Model> models;
  std::vector<std::string> warnings;  // for the log, once
  std::filesystem::path file;         // that they were read from; empty: none
  mode_t runner_umask = 022;          // in no file: that the server was started with
};

}  // namespace quern
