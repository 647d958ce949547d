#pragma once
// Everything between the HTTP server and the queue: both dialects, files, uploads, the catalog for
// machines, health, and the administrators' routes. The wire is described in docs/API.md.
//
//   auto api = api::Api::make(options, {queue, artifacts, limiter, clock, random, metrics},
//                             {keys, catalog});
//   http::Server server(server_options, [&](http::Exchange e) { (*api)->handle(std::move(e)); },
//                       metrics);
//
// Ends in this order: start_drain(), …, end_live(), server.stop_accepting(), server.stop(),
// api->stop(), the queue. The Api itself must outlive the server and every reply that the queue
// still owes.

#include <memory>
#include <string_view>

#include "api/options.h"
#include "auth/api_key.h"
#include "base/result.h"
#include "catalog/catalog.h"
#include "catalog/endpoint_history.h"
#include "http/server.h"

namespace quern::api {

struct Context;

/// Threads: any.
class Api {
 public:
  /// What the configuration says, and which aliases models had by earlier ones.
  struct Config {
    std::shared_ptr<const KeyRing> keys;
    std::shared_ptr<const Catalog> catalog;
    std::shared_ptr<const EndpointHistory> endpoints = std::make_shared<EndpointHistory>();
  };

  /// Errors: invalid_argument (public_url, trusted_proxies).
  static Result<std::unique_ptr<Api>> make(Options options, Deps deps, Config config);
  ~Api();

  /// The server's handler. Never blocks.
  void handle(http::Exchange exchange);
  /// Requests from now on see these; those under way keep what they began with, but what is held
  /// open for a key that is gone ends.
  void reload(Config config);
  /// From now on creates are 503 and no answer is held: those that wait are given. Event streams go on, new ones too:
  /// what their callers wait for may end within the drain.
  void start_drain();
  /// Ends event streams too, each with what is known by now; before COMPLETED they break off. For when the server
  /// stops. Idempotent.
  void end_live();
  /// Ends what is held open and the threads for timers and files. Idempotent.
  void stop();

  /// For ServerOptions::protocol_error: the same error body as everywhere.
  [[nodiscard]] http::Response protocol_error(const http::Request* request, unsigned status,
                                              std::string_view reason) const;

 private:
  explicit Api(std::unique_ptr<Context> context);
  std::unique_ptr<Context> context_;
};

}  // namespace quern::api
