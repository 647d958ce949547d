#include "api/context.h"

#include "base/thread_name.h"

namespace quern::api {

Context::Context(Options o, Deps d, BaseUrls urls)
    : options(std::move(o)),
      deps(d),
      base_urls(std::move(urls)),
      cors(options.cors_origins),
      upload_links(options.upload_secret, deps.random),
      upload_sizes(options.upload_bytes_max, options.upload_link_ttl),
      assembler(deps.artifacts, upload_links, upload_sizes),
      metrics(deps.metrics),
      blocking(options.blocking_pending_max) {
  blocking.start(options.blocking_threads, [] { name_this_thread("quern-api"); });
}

void Context::end_live() {
  draining.store(true);
  stopping.store(true);
  live.end_all();
}

void Context::stop() {
  end_live();
  timers.stop();
  blocking.stop();
}

}  // namespace quern::api
