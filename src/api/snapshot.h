#pragma once
// Keys and models as one request sees them: a reload never changes the rules under a call.

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "auth/api_key.h"
#include "catalog/catalog.h"
#include "catalog/endpoint_history.h"

namespace quern::api {

struct Snapshot {
  std::shared_ptr<const KeyRing> keys;
  std::shared_ptr<const Catalog> catalog;
  std::shared_ptr<const EndpointHistory> endpoints;  // never null
  mutable std::once_flag openapi_once;               // guards the making of openapi_json
  mutable std::string openapi_json;                  // made at the first GET /openapi.json
};

/// Threads: any. Reading costs one atomic load and one reference count as long as nothing is
/// reloaded.
class SnapshotBox {
 public:
  void store(std::shared_ptr<const Snapshot> snapshot) {
    static std::atomic<std::uint64_t> versions{0};
    const std::scoped_lock lock(mutex_);
    current_ = std::move(snapshot);
    version_.store(versions.fetch_add(1, std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  [[nodiscard]] std::shared_ptr<const Snapshot> load() const {
    // A version is never used twice in a process, so a thread's copy is right if its version is.
    thread_local std::uint64_t cached_version = 0;
    thread_local std::shared_ptr<const Snapshot> cached;
    if (version_.load(std::memory_order_acquire) != cached_version) {
      const std::scoped_lock lock(mutex_);
      cached = current_;
      cached_version = version_.load(std::memory_order_relaxed);
    }
    return cached;
  }

 private:
  mutable std::mutex mutex_;  // guards current_
  std::shared_ptr<const Snapshot> current_;
  std::atomic<std::uint64_t> version_{0};
};

}  // namespace quern::api
