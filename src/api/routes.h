#pragma once
// One table of all routes, and how a path finds its row.
//
// A path is split at `/` first, then each segment is percent-decoded. Its first segments may be a
// mount; the rest is matched against the patterns of that mount.

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "catalog/catalog.h"
#include "http/message.h"

namespace quern::api {

struct Call;
using CallPtr = std::unique_ptr<Call>;
using RouteHandler = void (*)(CallPtr);

enum class Mount : std::uint8_t {
  none,         // outside of all mounts
  queue,        // /v1/queue
  model_queue,  // /model/v1/queue: the same routes
  fal,          // /fal
  admin,        // /admin
};
/// "/v1/queue", …; empty for none.
std::string_view mount_path(Mount mount);

enum class Access : std::uint8_t {
  open,   // for everyone
  key,    // for holders of a key
  admin,  // for holders of an administrator's key; an unknown route for all others
};

struct Route {
  Mount mount;                         // queue stands for both of its mounts
  std::optional<http::Method> method;  // nullopt: any
  /// Below the mount. `{x}` takes one segment; `{endpoint}` takes one or more, up to `requests`.
  std::string_view pattern;
  RouteHandler handler;
  Access access;
  std::string_view label;  // in metrics
  bool hot = false;        // latencies are sampled
};

std::span<const Route> all_routes();

struct Segment {
  std::string_view raw;   // as sent
  std::string_view text;  // decoded
};

/// A path in its segments. Not movable: views may point into it.
class SplitPath {
 public:
  SplitPath() = default;
  SplitPath(const SplitPath&) = delete;
  SplitPath& operator=(const SplitPath&) = delete;

  /// False for what no route can be: no leading slash, an empty segment, a broken escape, too many
  /// segments.
  bool assign(std::string_view path);
  [[nodiscard]] std::span<const Segment> segments() const { return segments_; }

 private:
  static constexpr std::size_t kSegmentsMax =
      kAliasSegmentsMax + 5;  // fal, requests, the id, status, stream
  static constexpr std::size_t kSegmentsUsual = 8;
  std::vector<Segment> segments_;  // no array: it would make of each call a large piece of memory
  std::vector<std::unique_ptr<std::string>> decoded_;  // of segments with escapes only
};

inline constexpr std::size_t kParamsMax = 3;

struct RouteMatch {
  Mount mount = Mount::none;
  const Route* route = nullptr;            // null: `allow` tells 404 from 405
  Access access = Access::open;            // what the path asks for, whatever the method
  std::string allow;                       // 405: the methods that the path knows
  std::array<Segment, kParamsMax> params;  // of `{x}`, in order
  std::span<const Segment> endpoint;       // of `{endpoint}`
};

/// `valid`: what SplitPath::assign said.
RouteMatch match_route(http::Method method, const SplitPath& path, bool valid);

}  // namespace quern::api
