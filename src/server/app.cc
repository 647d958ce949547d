#include "server/app.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <thread>
#include <utility>

#include "api/api.h"
#include "artifact/artifact_store.h"
#include "artifact/measure_process.h"
#include "base/descriptor_limit.h"
#include "base/log.h"
#include "base/metrics.h"
#include "http/server.h"
#include "limit/rate_limiter.h"
#include "queue/local/data_folder.h"
#include "queue/local/local_queue.h"
#include "runner/dispatcher.h"
#include "runner/echo_executor.h"
#include "runner/process_executor.h"
#include "runner/process_guard.h"
#include "server/endpoint_file.h"
#include "server/first_key.h"
#include "server/janitor.h"
#include "server/model_gauges.h"

namespace quern {
namespace {

// One queue has one observer: the dispatcher hears of work, the janitor of files.
class Observer final : public QueueObserver {
 public:
  Observer(Dispatcher& dispatcher, Janitor& janitor) : dispatcher_(dispatcher), janitor_(janitor) {}
  void on_claimable(const std::string& model) override { dispatcher_.on_claimable(model); }
  void on_stop(const Lease& lease, bool canceled) override { dispatcher_.on_stop(lease, canceled); }
  void on_expired(std::span<const Output> outputs) override { janitor_.remove(outputs); }

 private:
  Dispatcher& dispatcher_;
  Janitor& janitor_;
};

QueuePolicy make_policy(const Settings& settings) {
  QueuePolicy policy;
  for (const Model& model : settings.models) {
    policy.models.push_back({.id = model.id,
                             .queued_max = model.queued_max,
                             .attempts_max = model.attempts_max,
                             .slots = model.concurrency,
                             .retry = model.retry,
                             .backoff_min = model.backoff_min,
                             .backoff_max = model.backoff_max});
  }
  for (const ApiKey& key : settings.keys) {
    policy.keys.push_back({.id = key.id,
                           .queued_max = key.queued_max,
                           .running_max = key.running_max,
                           .weight = key.weight});
  }
  return policy;
}

void log_warnings(const Settings& settings) {
  for (const std::string& warning : settings.warnings) log_warn(warning);
  if (settings.keys.empty())
    log_warn("no key is configured: every call will be refused; see `quern keys new`");
}

// By then it has long been said that the configuration was loaded.
void log_refusal(const Result<bool>& configured) {
  if (configured) return;
  log_error("the queue did not take the configuration", {{"reason", configured.error().message}});
}

double resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  double total = 0;
  double resident = 0;
  statm >> total >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

void add_state_metrics(Metrics& metrics, Queue& queue) {
  const auto gauges = std::make_shared<ModelGauges>(metrics);
  metrics.on_render([&metrics, &queue, gauges] {
    const QueueStats stats = queue.stats();
    gauges->set(stats.models);
    metrics.gauge("quern_store_writable", "1 while the store takes writes.")
        .set(stats.writable ? 1 : 0);
    metrics.gauge("process_resident_memory_bytes", "Resident memory of the server.")
        .set(resident_bytes());
  });
  metrics.gauge("quern_build_info", "Always 1.", {{"version", QUERN_VERSION}}).set(1);
}

// What is kept from connections, so that whoever opens many stops no task: for the store and what threads have open for
// a moment, for each I/O thread, and for each slot the pipes and files of its runner.
constexpr rlim_t kOwnDescriptors = 256;
constexpr rlim_t kDescriptorsPerThread = 8;
constexpr rlim_t kDescriptorsPerSlot = 16;
// The sockets of two connections, and a file that comes or goes by one of them.
constexpr rlim_t kDescriptorsPerTwoConnections = 3;
constexpr std::uint32_t kConnectionsMin = 16;

rlim_t kept_descriptors(const Settings& settings) {
  rlim_t slots = 0;
  for (const Model& model : settings.models)
    if (model.executor.kind != "echo") slots += model.concurrency;
  const unsigned threads = std::max(settings.http.threads, std::thread::hardware_concurrency());
  return kOwnDescriptors + kDescriptorsPerThread * threads + kDescriptorsPerSlot * slots;
}

// As many connections as are configured, or as the descriptors are enough for.
std::uint32_t fit_connections(const Settings& settings, rlim_t descriptors_max) {
  const std::uint32_t wanted = settings.http.connections_max;
  const rlim_t kept = kept_descriptors(settings);
  const rlim_t left = descriptors_max - std::min(kept, descriptors_max);
  const rlim_t enough_for =
      std::max<rlim_t>(2 * left / kDescriptorsPerTwoConnections, kConnectionsMin);
  if (enough_for >= wanted) return wanted;
  log_warn(
      "fewer connections are taken than connections_max, since this process may open too few "
      "files: raise the limit (LimitNOFILE of systemd, or ulimit -Hn)",
      {{"connections", std::to_string(enough_for)},
       {"limit", std::to_string(descriptors_max)},
       {"needed", std::to_string(kept + (kDescriptorsPerTwoConnections * wanted + 1) / 2)}});
  return static_cast<std::uint32_t>(enough_for);
}

// Of a damaged store a person must know where it is and what to do.
Error describe_store_fault(const std::filesystem::path& data, Error error) {
  if (error.code == ErrorCode::data_loss) {
    error.message = fmt::format(
        "the store in {} is damaged ({}): restore a backup, or see docs/OPERATING.md on rebuilding "
        "it",
        data.string(), error.message);
  }
  return error;
}

// What URLs of this server begin with, as far as the configuration tells: without a `public_url`, those of callers who
// come to the very address.
std::string own_url(const Settings& settings) {
  if (!settings.public_url.empty()) return settings.public_url;
  return fmt::format("{}://{}", settings.http.tls ? "https" : "http", settings.http.listen);
}

// What a reload cannot change, by name.
std::vector<std::string_view> settings_that_wait(const Settings& before, const Settings& after) {
  std::vector<std::string_view> names;
  const auto compare = [&](std::string_view name, bool same) {
    if (!same) names.push_back(name);
  };
  compare("[server] listen", before.http.listen == after.http.listen);
  compare("[server] public_url", before.public_url == after.public_url);
  compare("[server] body_max", before.body_bytes_max == after.body_bytes_max);
  compare("[server] threads", before.http.threads == after.http.threads);
  compare("[server] connections_max", before.http.connections_max == after.http.connections_max);
  compare("[server] memory_max", before.http.memory_bytes_max == after.http.memory_bytes_max);
  compare("[server] head_max", before.http.head_bytes_max == after.http.head_bytes_max);
  compare("[server] head_timeout", before.http.head_timeout == after.http.head_timeout);
  compare("[server] body_timeout", before.http.body_timeout == after.http.body_timeout);
  compare("[server] idle_timeout", before.http.idle_timeout == after.http.idle_timeout);
  compare("[server] write_timeout", before.http.write_timeout == after.http.write_timeout);
  compare("[server] cors_origins", before.cors_origins == after.cors_origins);
  compare("[server] trusted_proxies", before.trusted_proxies == after.trusted_proxies);
  compare("[server] drain_timeout", before.drain_timeout == after.drain_timeout);
  compare("[server] log_level", before.log_level == after.log_level);
  compare("[server] tls", before.http.tls.has_value() == after.http.tls.has_value());
  compare("[store] url", before.data == after.data);
  compare("[store] lease_ttl", before.lease_ttl == after.lease_ttl);
  compare("[store] result_cache", before.result_cache_bytes == after.result_cache_bytes);
  compare("[retention] results", before.results_ttl == after.results_ttl);
  compare("[retention] uploads", before.uploads_ttl == after.uploads_ttl);
  compare("[input] file_max", before.input_file_bytes_max == after.input_file_bytes_max);
  compare("[input] upload_max", before.upload_bytes_max == after.upload_bytes_max);
  compare("[input] total_max", before.input_bytes_max == after.input_bytes_max);
  compare("[input] fetch_timeout", before.fetch_timeout == after.fetch_timeout);
  compare("[input] allow_private_urls", before.allow_private_urls == after.allow_private_urls);
  return names;
}

}  // namespace

struct App::Parts {
  explicit Parts(Settings s) : settings(std::move(s)) {}

  Result<void> open();
  Result<void> begin();
  void end();

  // In the order of their making; each outlives what is below it.
  Settings settings;
  std::shared_ptr<const KeyRing> keys;
  std::shared_ptr<const Catalog> catalog;
  SystemClock clock;
  SystemRandom random;
  Metrics metrics;
  RateLimiter limiter;
  std::unique_ptr<LocalQueue> queue;
  std::unique_ptr<ProcessGuard> guard;
  std::unique_ptr<ArtifactStore> artifacts;
  std::optional<EndpointFile> endpoints;
  std::unique_ptr<Janitor> janitor;
  std::unique_ptr<Dispatcher> dispatcher;
  std::unique_ptr<Observer> observer;
  std::unique_ptr<api::Api> api;
  std::unique_ptr<http::Server> server;
  std::string upload_secret;
  rlim_t descriptors_max = 0;
  std::string url;
  bool ended = false;
};

// What may fail because of the machine: files, folders, other servers.
Result<void> App::Parts::open() {
  Result<DataFolder> folder = DataFolder::lock(settings.data);
  if (!folder) return fail(std::move(folder));
  // Before the recovery: the guard would keep a copy of all that the server has in memory by then.
  auto started_guard = ProcessGuard::start(settings.data / "running");
  if (!started_guard) return fail(std::move(started_guard));
  guard = std::move(*started_guard);
  descriptors_max = raise_descriptor_limit();
  auto opened_queue = LocalQueue::open(
      *std::move(folder),
      {.retention = settings.results_ttl, .result_cache_bytes = settings.result_cache_bytes}, clock,
      random, metrics);
  if (!opened_queue)
    return std::unexpected(describe_store_fault(settings.data, opened_queue.error()));
  queue = std::move(*opened_queue);
  Result<std::string> secret = open_secret(settings.data, "upload-secret", random);
  if (!secret) return fail(std::move(secret));
  upload_secret = std::move(*secret);
  auto opened_artifacts = ArtifactStore::open(
      settings.data, random, measure_by_process({"/proc/self/exe", std::string(kMeasureVerb)}));
  if (!opened_artifacts) return fail(std::move(opened_artifacts));
  artifacts = std::move(*opened_artifacts);
  endpoints.emplace(settings.data / "aliases");
  return {};
}

Result<void> App::Parts::begin() {
  janitor = std::make_unique<Janitor>(
      *artifacts, clock,
      JanitorOptions{.uploads_ttl = settings.uploads_ttl, .results_ttl = settings.results_ttl});

  Dispatcher::Options runs;
  runs.executors["echo"] = std::make_shared<EchoExecutor>();
  runs.executors["process"] =
      std::make_shared<ProcessExecutor>(*artifacts, *guard, clock, settings.runner_umask);
  runs.input_files.file_bytes_max = settings.input_file_bytes_max;
  // Whatever could be uploaded can be used.
  runs.input_files.input_bytes_max = std::max(settings.input_bytes_max, settings.upload_bytes_max);
  runs.input_files.own_url = own_url(settings);
  runs.input_files.fetch.timeout = settings.fetch_timeout;
  if (settings.allow_private_urls) runs.input_files.fetch.address_rule = &is_any_address;
  runs.lease_ttl = settings.lease_ttl;
  dispatcher = std::make_unique<Dispatcher>(*queue, *artifacts, clock, metrics, std::move(runs));
  observer = std::make_unique<Observer>(*dispatcher, *janitor);
  queue->observe(observer.get());

  auto made = api::Api::make({.public_url = settings.public_url,
                              .cors_origins = settings.cors_origins,
                              .trusted_proxies = settings.trusted_proxies,
                              .body_bytes_max = settings.body_bytes_max,
                              .upload_bytes_max = settings.upload_bytes_max,
                              .upload_secret = upload_secret},
                             {*queue, *artifacts, limiter, clock, random, metrics},
                             {keys, catalog, endpoints->take_in(*catalog)});
  if (!made) return fail(std::move(made));
  api = std::move(*made);
  http::ServerOptions options = settings.http;
  options.connections_max = fit_connections(settings, descriptors_max);
  options.protocol_error = [this](const http::Request* request, unsigned status,
                                  std::string_view reason) {
    return api->protocol_error(request, status, reason);
  };
  server = std::make_unique<http::Server>(
      std::move(options), [this](http::Exchange exchange) { api->handle(std::move(exchange)); },
      metrics);

  add_state_metrics(metrics, *queue);
  queue->start();
  queue->configure(make_policy(settings), &log_refusal);
  Result<void> served = dispatcher->configure(catalog);
  if (!served) return served;
  janitor->start();
  Result<void> listening = server->start();
  if (listening) url = server->url();
  return listening;
}

void App::Parts::end() {
  if (std::exchange(ended, true)) return;
  if (dispatcher) dispatcher->drain(std::chrono::milliseconds{0});
  if (api) api->end_live();
  if (server) server->stop();
  if (api) api->stop();
  if (queue) queue->stop();
  if (janitor) janitor->stop();
}

App::App(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

App::~App() { parts_->end(); }

Result<std::unique_ptr<App>> App::start(Settings settings) {
  log_warnings(settings);
  auto keys = KeyRing::make(settings.keys);
  if (!keys) return fail(std::move(keys));
  auto catalog = Catalog::make(settings.models);
  if (!catalog) return fail(std::move(catalog));

  std::unique_ptr<App> app(new App(std::make_unique<Parts>(std::move(settings))));
  app->parts_->keys = *keys;
  app->parts_->catalog = *catalog;
  Result<void> done = app->parts_->open();
  if (done) done = app->parts_->begin();
  if (!done) return fail(std::move(done));
  return app;
}

const std::string& App::url() const { return parts_->url; }

Result<void> App::reload(Settings settings) {
  if (settings.models.empty() && settings.keys.empty() && !parts_->catalog->models().empty()) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{} has neither models nor keys", settings.file.string()));
  }
  log_warnings(settings);
  auto keys = KeyRing::make(settings.keys);
  if (!keys) return fail(std::move(keys));
  auto catalog = Catalog::make(settings.models);
  if (!catalog) return fail(std::move(catalog));
  if (parts_->settings.http.tls && settings.http.tls) {
    Result<void> renewed = parts_->server->renew_certificate(*settings.http.tls);
    if (!renewed) return renewed;
  }
  Result<void> served = parts_->dispatcher->configure(*catalog);
  if (!served) return served;
  parts_->queue->configure(make_policy(settings), &log_refusal);
  parts_->api->reload({*keys, *catalog, parts_->endpoints->take_in(**catalog)});
  for (const std::string_view name : settings_that_wait(parts_->settings, settings)) {
    log_warn("this setting changes at the next start only", {{"setting", std::string(name)}});
  }
  parts_->keys = *keys;
  parts_->catalog = *catalog;
  return {};
}

void App::drain() {
  parts_->api->start_drain();
  parts_->dispatcher->drain(parts_->settings.drain_timeout);
  parts_->api->end_live();
  parts_->server->stop_accepting();
  parts_->end();
}

}  // namespace quern
