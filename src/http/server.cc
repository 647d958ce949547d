#include "http/server.h"

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/thread_name.h"
#include "http/connection.h"
#include "http/listener.h"

namespace quern::http {
namespace {

using std::chrono::milliseconds;

constexpr unsigned kBlockingThreads = 4;

Deadlines::Durations make_durations(const ServerOptions& options) {
  Deadlines::Durations durations{};
  const auto set = [&](Deadline kind, milliseconds duration) {
    durations[static_cast<std::size_t>(kind)] = duration;
  };
  set(Deadline::setup, options.head_timeout);
  set(Deadline::head, options.head_timeout);
  set(Deadline::idle, options.idle_timeout);
  set(Deadline::body, options.body_timeout);
  set(Deadline::write, options.write_timeout);
  set(Deadline::linger, options.linger_timeout);
  return durations;
}

unsigned count_threads(unsigned wanted) {
  return wanted > 0 ? wanted : std::max(1U, std::thread::hardware_concurrency());
}

}  // namespace

struct Server::Impl {
  struct Worker {
    std::shared_ptr<IoThread> io;
    std::unique_ptr<Listener> listener;
  };

  Result<void> start();
  Result<void> listen();
  Result<void> renew_certificate(const TlsFiles& files);
  void stop_accepting();
  void stop(milliseconds grace);
  void for_each_worker(void (*work)(Worker&));

  std::shared_ptr<ServerState> state;
  std::vector<Worker> workers;
  std::string url;
  bool started = false;
  bool stopped = false;
};

Result<void> Server::Impl::start() {
  if (started) return {};
  if (auto listening = listen(); !listening) {
    workers.clear();
    return listening;
  }
  started = true;
  state->pool.start(kBlockingThreads, [] { name_this_thread("quern-files"); });
  for (Worker& worker : workers) {
    worker.listener->start();
    worker.io->start();
  }
  return {};
}

Result<void> Server::Impl::listen() {
  const ServerOptions& options = state->options;
  auto endpoint = resolve_listen_address(options.listen);
  if (!endpoint) return fail(std::move(endpoint));
  std::shared_ptr<TlsContext> tls;
  if (options.tls) {
    auto made = make_tls_context(*options.tls);
    if (!made) return fail(std::move(made));
    tls = std::move(*made);
  }
  const Deadlines::Durations durations = make_durations(options);
  for (unsigned i = 0; i < count_threads(options.threads); ++i) {
    auto io = std::make_shared<IoThread>(durations);
    auto listener = std::make_unique<Listener>(io, state, tls);
    if (auto opened = listener->open(*endpoint, i > 0); !opened) return opened;
    *endpoint = listener->local_endpoint();  // the others share the port that the first was given
    workers.push_back({std::move(io), std::move(listener)});
  }
  url = make_url(*endpoint, options.tls.has_value());
  return {};
}

Result<void> Server::Impl::renew_certificate(const TlsFiles& files) {
  QUERN_ASSERT(started && state->options.tls);
  auto tls = make_tls_context(files);
  if (!tls) return fail(std::move(tls));
  for (Worker& worker : workers) {
    worker.io->post([&worker, tls = *tls] { worker.listener->set_tls(tls); });
  }
  return {};
}

/// Posts `work` to each I/O thread.
void Server::Impl::for_each_worker(void (*work)(Worker&)) {
  for (Worker& worker : workers) worker.io->post([&worker, work] { work(worker); });
}

void Server::Impl::stop_accepting() {
  if (!started || state->stopping.exchange(true)) return;
  for_each_worker([](Worker& worker) {
    worker.listener->stop();
    // Later, and when all sockets were looked at, so that requests which have arrived by now are seen before their
    // connections count as idle.
    worker.io->post([io = worker.io.get()] {
      io->sockets().tell_all();
      const auto connections = io->connections();  // a copy: draining removes some
      for (const auto& connection : connections) connection->begin_drain();
    });
  });
}

void Server::Impl::stop(milliseconds grace) {
  if (!started || std::exchange(stopped, true)) return;
  stop_accepting();
  state->connections.wait_until_none(grace);
  for_each_worker([](Worker& worker) {
    const auto connections = worker.io->connections();
    for (const auto& connection : connections) connection->close();
    worker.io->finish();
  });
  for (Worker& worker : workers) worker.io->join();
  state->pool.stop();
}

Server::Server(ServerOptions options, Handler handler, Metrics& metrics)
    : impl_(std::make_unique<Impl>()) {
  impl_->state = std::make_shared<ServerState>(std::move(options), std::move(handler), metrics);
}

Server::~Server() { stop(); }

Result<void> Server::start() { return impl_->start(); }
std::string Server::url() const { return impl_->url; }
Result<void> Server::renew_certificate(const TlsFiles& files) {
  return impl_->renew_certificate(files);
}
void Server::stop_accepting() { impl_->stop_accepting(); }
void Server::stop(milliseconds grace) { impl_->stop(grace); }
std::size_t Server::connections() const { return impl_->state->connections.get(); }

}  // namespace quern::http
