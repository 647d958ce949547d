#pragma once
// What all handlers share: one per Api.

#include <atomic>
#include <memory>

#include "api/base_url.h"
#include "api/cors.h"
#include "api/live_calls.h"
#include "api/options.h"
#include "api/route_metrics.h"
#include "api/snapshot.h"
#include "api/timers.h"
#include "api/upload_links.h"
#include "api/upload_parts.h"
#include "base/blocking_pool.h"

namespace quern::api {

/// Threads: any.
struct Context {
  Context(Options o, Deps d, BaseUrls urls);

  const Options options;
  const Deps deps;
  const BaseUrls base_urls;
  const Cors cors;
  const UploadLinks upload_links;
  UploadSizes upload_sizes;
  UploadAssembler assembler;
  SnapshotBox snapshots;
  RouteMetrics metrics;
  std::atomic<bool> draining{false};
  std::atomic<bool> stopping{false};
  LiveCalls live;
  Timers timers;
  BlockingPool blocking;

  /// Ends held answers and streams, and lets none begin. Idempotent.
  void end_live();
  /// The same, then ends the threads. Idempotent.
  void stop();
};

}  // namespace quern::api
