#include "api/context.h"

namespace quern::api {

Context::Context(Options o, Deps d, BaseUrls urls)
    : options(std::move(o)),
      deps(d),
      base_urls(std::move(urls)),
      cors(options.cors_origins),
      upload_links(options.upload_secret, deps.random),
      metrics(deps.metrics),
      blocking(options.blocking_pending_max) {
  blocking.start(options.blocking_threads);
}

void Context::stop() {
  draining.store(true);
  live.end_all();
  timers.stop();
  blocking.stop();
}

}  // namespace quern::api
