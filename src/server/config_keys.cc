#include "server/config_keys.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <string_view>
#include <utility>

#include "api/base_url.h"
#include "api/origin.h"
#include "http/server.h"
#include "queue/queue.h"

namespace quern {

bool is_plain_secret(std::string_view text) {
  return !text.starts_with("sha256:") && !text.starts_with("env:");
}

namespace {

using std::chrono::milliseconds;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr milliseconds kForever = std::chrono::days{3650};
constexpr std::uint64_t kGiB = 1ULL << 30U;

// ---- values that need more than a kind

Complaint set_listen(Settings& settings, const toml::node& node) {
  const auto value = node.value_exact<std::string>();
  if (!value) return config::want("\"host:port\", such as \"127.0.0.1:8080\"");
  const auto address = http::parse_listen_address(*value);
  if (!address) return address.error().message;
  settings.http.listen = *value;
  return std::nullopt;
}

Complaint set_public_url(Settings& settings, const toml::node& node) {
  const auto value = node.value_exact<std::string>();
  if (!value) return config::want("a string such as \"https://queue.example.com\"");
  auto url = api::parse_public_url(*value);
  if (!url) return url.error().message;
  settings.public_url = std::move(*url);
  return std::nullopt;
}

Complaint set_cors_origins(Settings& settings, const toml::node& node) {
  static const auto take =
      config::texts<Settings>([](Settings& s) -> auto& { return s.cors_origins; });
  if (Complaint complaint = take(settings, node)) return complaint;
  for (const std::string& origin : settings.cors_origins) {
    if (origin != "*" && !api::is_origin(origin)) {
      return fmt::format(
          "expected \"*\" or an origin as browsers send it, scheme://host[:port] in lower case, "
          "without a path, a slash at the end or the scheme's own port, got \"{}\"",
          origin);
    }
  }
  return std::nullopt;
}

Complaint set_trusted_proxies(Settings& settings, const toml::node& node) {
  static const auto take =
      config::texts<Settings>([](Settings& s) -> auto& { return s.trusted_proxies; });
  if (Complaint complaint = take(settings, node)) return complaint;
  for (const std::string& proxy : settings.trusted_proxies) {
    const auto block = api::AddressBlock::parse(proxy);
    if (!block) return block.error().message;
  }
  return std::nullopt;
}

Complaint set_log_level(Settings& settings, const toml::node& node) {
  static constexpr std::pair<std::string_view, LogLevel> kLevels[] = {{"debug", LogLevel::debug},
                                                                      {"info", LogLevel::info},
                                                                      {"warn", LogLevel::warn},
                                                                      {"error", LogLevel::error}};
  const auto value = node.value_exact<std::string>();
  for (const auto& [name, level] : kLevels) {
    if (value && *value == name) {
      settings.log_level = level;
      return std::nullopt;
    }
  }
  return config::want("\"debug\", \"info\", \"warn\" or \"error\"");
}

Complaint set_rate(ApiKey& key, const toml::node& node) {
  const auto value = node.value_exact<std::string>();
  if (!value) return config::want("a rate such as \"200/s\"");
  const auto rate = parse_rate(*value);
  if (!rate) return rate.error().message;
  key.rate = *rate;
  return std::nullopt;
}

Complaint add_secret(ApiKey& key, const toml::node& node) {
  const auto written = node.value_exact<std::string>();
  if (!written)
    return config::want("\"env:NAME\", \"sha256:<hex>\", a plain secret, or a list of them");
  std::string secret = *written;
  if (secret.starts_with("env:")) {
    const std::string name = secret.substr(4);
    if (name.empty()) return config::want("the name of an environment variable behind \"env:\"");
    const char* value = std::getenv(name.c_str());
    if (value == nullptr || *value == '\0') {
      return fmt::format("the environment variable {} is not set", name);
    }
    secret = value;
  }
  const auto digest = parse_secret(secret);
  if (!digest) return digest.error().message;
  key.secrets.push_back(*digest);
  return std::nullopt;
}

Complaint set_secret(ApiKey& key, const toml::node& node) {
  const toml::array* list = node.as_array();
  if (list == nullptr) return add_secret(key, node);
  if (list->empty()) return config::want("at least one secret");
  for (const toml::node& item : *list) {
    if (Complaint complaint = add_secret(key, item)) return complaint;
  }
  return std::nullopt;
}

bool has_zero(std::string_view text) { return text.find('\0') != std::string_view::npos; }

Complaint set_command(ExecutorSpec& spec, const toml::node& node) {
  static const auto take =
      config::texts<ExecutorSpec>([](ExecutorSpec& s) -> auto& { return s.command; });
  if (Complaint complaint = take(spec, node)) return complaint;
  if (std::ranges::any_of(spec.command, has_zero))
    return config::want("texts without a zero character, which no program can be given");
  return std::nullopt;
}

Complaint set_env(ExecutorSpec& spec, const toml::node& node) {
  const toml::table* table = node.as_table();
  if (table == nullptr) return config::want("a table of strings");
  for (const auto& [name, value] : *table) {
    const auto text = value.value_exact<std::string>();
    if (!text) return config::want("a table of strings");
    if (name.str().empty() || name.str().find('=') != std::string_view::npos ||
        has_zero(name.str())) {
      return config::want("names that are not empty and have neither \"=\" nor a zero character");
    }
    if (has_zero(*text)) return fmt::format("{}: a zero character cannot be given", name.str());
    if (name.str() == "TMPDIR") {
      return "TMPDIR is each attempt's own folder, by which its processes are found: set it inside "
             "the program, or take it out";
    }
    spec.env.emplace(std::string(name.str()), *text);
  }
  return std::nullopt;
}

}  // namespace

// ---- the tables

#define FIELD(Type, path) [](Type& it) -> auto& { return it.path; }

const std::vector<ConfigKey<Settings>>& server_keys() {
  using S = Settings;
  static const std::vector<ConfigKey<S>> keys = {
      {"listen", "host:port", "\"127.0.0.1:8080\"", "where to listen; port 0: any free port",
       set_listen},
      {"public_url", "string", "\"\"",
       "the address callers use, for URLs in answers; empty: from the Host header", set_public_url},
      {"body_max", "size", "\"10MiB\"", "a create's body; more is 413",
       config::size<S>(FIELD(S, body_bytes_max), 1024, kInputBytesMax)},
      {"threads", "count", "0", "I/O threads; 0: one per core",
       config::count<S>(FIELD(S, http.threads), 0, 256)},
      {"connections_max", "count", "20000", "open connections; one more is closed at once",
       config::count<S>(FIELD(S, http.connections_max), 1, 1'000'000)},
      {"memory_max", "size", "\"256MiB\"",
       "large bodies and answers in memory at once, half of it of one key at most; more is 503",
       config::size<S>(FIELD(S, http.memory_bytes_max), 1 << 20, 1024 * kGiB)},
      {"head_max", "size", "\"16KiB\"", "a request's line and headers; more is 431 or 414",
       config::size<S>(FIELD(S, http.head_bytes_max), 1024, 1 << 20)},
      {"head_timeout", "duration", "\"10s\"",
       "for a request's head, from its first byte to its last; for a new connection to send one",
       config::duration<S>(FIELD(S, http.head_timeout), 100ms, 1h)},
      {"body_timeout", "duration", "\"60s\"", "without a byte of a body arriving",
       config::duration<S>(FIELD(S, http.body_timeout), 100ms, 1h)},
      {"idle_timeout", "duration", "\"75s\"", "between two requests of a connection",
       config::duration<S>(FIELD(S, http.idle_timeout), 100ms, 24h)},
      {"write_timeout", "duration", "\"60s\"", "without a byte of an answer being taken",
       config::duration<S>(FIELD(S, http.write_timeout), 100ms, 1h)},
      {"cors_origins", "strings", "[]",
       "origins of browser pages that may call, \"https://app.example.com\"; \"*\": all",
       set_cors_origins},
      {"trusted_proxies", "strings", "[]",
       "addresses or networks whose X-Forwarded-* headers count", set_trusted_proxies},
      {"drain_timeout", "duration", "\"30s\"",
       "how long a stop waits for running tasks before it hands them back",
       config::duration<S>(FIELD(S, drain_timeout), 0ms, 24h)},
      {"log_level", "string", "\"info\"", "debug, info, warn or error", set_log_level},
  };
  return keys;
}

const std::vector<ConfigKey<Settings>>& store_keys() {
  using S = Settings;
  static const std::vector<ConfigKey<S>> keys = {
      {"lease_ttl", "duration", "\"30s\"",
       "how long an attempt lives without a heartbeat of its runner",
       config::duration<S>(FIELD(S, lease_ttl), 1s, 1h)},
      {"result_cache", "size", "\"64MiB\"", "memory for results of tasks that ended lately",
       config::size<S>(FIELD(S, result_cache_bytes), 0, 64 * kGiB)},
  };
  return keys;
}

const std::vector<ConfigKey<Settings>>& retention_keys() {
  using S = Settings;
  static const std::vector<ConfigKey<S>> keys = {
      {"results", "duration", "\"24h\"",
       "how long an ended task, its result and its files are kept",
       config::duration<S>(FIELD(S, results_ttl), 1s, kForever)},
      {"uploads", "duration", "\"24h\"", "how long an uploaded file is kept",
       config::duration<S>(FIELD(S, uploads_ttl), 1s, kForever)},
  };
  return keys;
}

const std::vector<ConfigKey<Settings>>& input_keys() {
  using S = Settings;
  static const std::vector<ConfigKey<S>> keys = {
      {"file_max", "size", "\"64MiB\"", "a file that an input names by URL",
       config::size<S>(FIELD(S, input_file_bytes_max), 1024, 64 * kGiB)},
      {"upload_max", "size", "\"1GiB\"", "an uploaded file",
       config::size<S>(FIELD(S, upload_bytes_max), 1024, 1024 * kGiB)},
      {"total_max", "size", "\"4GiB\"",
       "all files of one input together, uploads and outputs too; at least `upload_max`",
       config::size<S>(FIELD(S, input_bytes_max), 1024, 64 * 1024 * kGiB)},
      {"fetch_timeout", "duration", "\"30s\"", "for fetching one input URL",
       config::duration<S>(FIELD(S, fetch_timeout), 100ms, 1h)},
      {"allow_private_urls", "bool", "false",
       "input URLs may point to private and loopback addresses",
       config::flag<S>(FIELD(S, allow_private_urls))},
  };
  return keys;
}

const std::vector<ConfigKey<ApiKey>>& key_keys() {
  using K = ApiKey;
  static const std::vector<ConfigKey<K>> keys = {
      {"id", "string", "required", "the owner of tasks; stays when secrets change",
       config::text<K>(FIELD(K, id))},
      {"secret", "secrets", "required",
       "\"env:NAME\", \"sha256:<hex>\" (see `quern keys new`), or a list while rotating",
       set_secret},
      {"models", "strings", "[\"*\"]", "globs over model ids", config::texts<K>(FIELD(K, models))},
      {"rate", "rate", "\"200/s\"", "requests; more is 429", set_rate},
      {"burst", "count", "twice the rate", "requests that may come at once",
       config::number<K>(FIELD(K, burst), 1, 1e9)},
      {"queued_max", "count", "10000", "tasks waiting, of all models",
       config::count<K>(FIELD(K, queued_max), 1, 1'000'000'000)},
      {"running_max", "count", "0", "tasks running, of all models; 0: no limit",
       config::count<K>(FIELD(K, running_max), 0, 1'000'000)},
      {"weight", "number", "1", "share of a model against other keys with waiting tasks",
       config::number<K>(FIELD(K, weight), 0.001, 1000)},
      {"admin", "bool", "false", "may use the admin verbs, on every key's tasks",
       config::flag<K>(FIELD(K, admin))},
  };
  return keys;
}

const std::vector<ConfigKey<ExecutorSpec>>& executor_keys() {
  using E = ExecutorSpec;
  static const std::vector<ConfigKey<E>> keys = {
      {"kind", "string", "required", "\"process\" or \"echo\"", config::text<E>(FIELD(E, kind))},
      {"command", "strings", "required for process",
       "program and arguments; a program with a slash is relative to dir", set_command},
      {"dir", "path", "the file's folder", "the working directory",
       [](E& e, const toml::node& node) -> Complaint {
         const auto value = node.value_exact<std::string>();
         if (!value || value->empty()) return config::want("a folder");
         e.dir = *value;
         return std::nullopt;
       }},
      {"env", "table", "{}",
       "environment variables, besides PATH, HOME and LANG or in place of them; TMPDIR is the "
       "attempt's own",
       set_env},
  };
  return keys;
}

// `schema` and `executor` are read by Reader::read_model, which knows the file they stand in.
const std::vector<ConfigKey<Model>>& model_keys() {
  using M = Model;
  static const std::vector<ConfigKey<M>> keys = {
      {"id", "string", "required", "the name in URLs: letters, digits, `_`, `.`, `-`",
       config::text<M>(FIELD(M, id))},
      {"title", "string", "the schema's", "for people", config::text<M>(FIELD(M, title))},
      {"description", "string", "the schema's", "for people",
       config::text<M>(FIELD(M, description))},
      {"modality", "string", "\"\"", "such as \"text-to-image\"",
       config::text<M>(FIELD(M, modality))},
      {"executor", "table", "required", "how it is run, see below", nullptr},
      {"schema", "path", "none", "a JSON Schema (draft 7) of the input; none: any object", nullptr},
      {"concurrency", "count", "1", "tasks running at once",
       config::count<M>(FIELD(M, concurrency), 1, 10'000)},
      {"timeout", "duration", "\"10m\"", "of one attempt",
       config::duration<M>(FIELD(M, timeout), 10ms, kForever)},
      {"grace", "duration", "\"5s\"", "between SIGTERM and SIGKILL",
       config::duration<M>(FIELD(M, grace), 0ms, 1h)},
      {"attempts", "count", "3", "runs of a task before it fails for good",
       config::count<M>(FIELD(M, attempts_max), 1, 100)},
      {"retry", "bool", "true", "false: a failed attempt is never repeated",
       config::flag<M>(FIELD(M, retry))},
      {"backoff_min", "duration", "\"1s\"",
       "the longest wait before the second attempt; doubles for each further one",
       config::duration<M>(FIELD(M, backoff_min), 1ms, 1h)},
      {"backoff_max", "duration", "\"60s\"",
       "the longest wait before any attempt; not below backoff_min",
       config::duration<M>(FIELD(M, backoff_max), 1ms, 24h)},
      {"queued_max", "count", "100000", "tasks waiting, of all keys",
       config::count<M>(FIELD(M, queued_max), 1, 1'000'000'000)},
      {"aliases", "strings", "[]", "further names on the fal mount: \"owner/app\"",
       config::texts<M>(FIELD(M, aliases))},
  };
  return keys;
}

#undef FIELD

}  // namespace quern
