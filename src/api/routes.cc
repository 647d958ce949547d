#include "api/routes.h"

#include <algorithm>

#include "api/handlers.h"
#include "base/assert.h"

namespace quern::api {
namespace {

using enum http::Method;
constexpr auto kAnyMethod = std::nullopt;

constexpr auto kRoutes = std::to_array<Route>({
    // clang-format off
    // Both mounts of the queue dialect.
    {Mount::queue, post, "/{model}",                             create_task,   Access::key, "create", true},
    {Mount::queue, get,  "/{model}/requests/{id}/status",        get_status,    Access::key, "status", true},
    {Mount::queue, get,  "/{model}/requests/{id}/response",      get_result,    Access::key, "result", true},
    {Mount::queue, put,  "/{model}/requests/{id}/cancel",        cancel_task,   Access::key, "cancel"},
    {Mount::queue, get,  "/{model}/requests/{id}",               get_result,    Access::key, "result", true},
    {Mount::queue, get,  "/{model}/requests/{id}/response/status", get_status,  Access::key, "status", true},
    {Mount::queue, kAnyMethod, "/{model}/requests/{id}/status/stream", refuse_stream, Access::key, "status_stream"},

    {Mount::fal, kAnyMethod, "/proxy",                           serve_proxied,   Access::key,  "fal_proxy"},
    {Mount::fal, post, "/storage/upload/initiate",               initiate_upload, Access::key,  "upload_initiate"},
    {Mount::fal, post, "/storage/upload/initiate-multipart",     initiate_parts,  Access::key,  "upload_initiate"},
    {Mount::fal, put,  "/storage/upload/{token}/{name}",         put_upload,      Access::open, "upload"},
    {Mount::fal, put,  "/storage/upload/{token}/{name}/{part}",  put_upload_part, Access::open, "upload_part"},
    {Mount::fal, post, "/storage/upload/{token}/{name}/complete", complete_upload, Access::open, "upload_complete"},
    {Mount::fal, post, "/{endpoint}",                            create_task,   Access::key, "fal_create", true},
    {Mount::fal, get,  "/{endpoint}/requests/{id}/status",       get_status,    Access::key, "fal_status", true},
    {Mount::fal, get,  "/{endpoint}/requests/{id}",              get_result,    Access::key, "fal_result", true},
    {Mount::fal, put,  "/{endpoint}/requests/{id}/cancel",       cancel_task,   Access::key, "fal_cancel"},
    {Mount::fal, get,  "/{endpoint}/requests/{id}/status/stream", stream_status, Access::key, "fal_status_stream"},
    {Mount::fal, get,  "/{endpoint}/requests/{id}/response",     get_result,    Access::key, "fal_result", true},
    {Mount::fal, get,  "/{endpoint}/requests/{id}/response/status", get_status, Access::key, "fal_status", true},

    {Mount::admin, get,     "/tasks",             admin_list,   Access::admin, "admin_list"},
    {Mount::admin, post,    "/tasks/cancel",      admin_cancel, Access::admin, "admin_cancel"},
    {Mount::admin, get,     "/tasks/{id}",        admin_get,    Access::admin, "admin_get"},
    {Mount::admin, delete_, "/tasks/{id}",        admin_purge,  Access::admin, "admin_purge"},
    {Mount::admin, post,    "/tasks/{id}/retry",  admin_retry,  Access::admin, "admin_retry"},
    {Mount::admin, post,    "/models/{model}/pause", admin_pause, Access::admin, "admin_pause"},
    {Mount::admin, post,    "/models/{model}/resume", admin_resume, Access::admin, "admin_resume"},

    {Mount::none, get,  "/files/{key}/{name}", get_file,    Access::open, "file"},
    {Mount::none, post, "/v1/files",           post_file,   Access::key,  "upload"},
    {Mount::none, get,  "/v1/models",          list_models, Access::key,  "models"},
    {Mount::none, get,  "/v1/models/{model}",  get_model,   Access::key,  "model"},
    {Mount::none, get,  "/openapi.json",       get_openapi, Access::open, "openapi"},
    {Mount::none, get,  "/docs",               get_docs,    Access::open, "docs"},
    {Mount::none, get,  "/healthz",            get_health,  Access::open, "healthz"},
    {Mount::none, get,  "/readyz",             get_ready,   Access::open, "readyz"},
    {Mount::none, get,  "/metrics",            get_metrics, Access::open, "metrics"},
    // clang-format on
});

struct PatternStep {
  enum class Kind : std::uint8_t { literal, param, endpoint } kind;
  std::string_view literal;
};

struct CompiledRoute {
  const Route* route;
  std::vector<PatternStep> steps;
};

std::vector<PatternStep> compile(std::string_view pattern) {
  std::vector<PatternStep> steps;
  while (!pattern.empty()) {
    pattern.remove_prefix(1);  // the slash
    const std::string_view step = pattern.substr(0, pattern.find('/'));
    pattern.remove_prefix(step.size());
    const auto kind = step == "{endpoint}"    ? PatternStep::Kind::endpoint
                      : step.starts_with('{') ? PatternStep::Kind::param
                                              : PatternStep::Kind::literal;
    steps.push_back({kind, step});
  }
  return steps;
}

// The routes of each mount, in the order of the table.
using Index = std::array<std::vector<CompiledRoute>, 5>;

const Index& index() {
  static const Index compiled = [] {
    Index made;
    for (const Route& route : kRoutes)
      made[static_cast<std::size_t>(route.mount)].push_back({&route, compile(route.pattern)});
    return made;
  }();
  return compiled;
}

struct MountPlace {
  Mount mount = Mount::none;
  std::size_t segments = 0;  // that the mount itself takes
};

MountPlace find_mount(std::span<const Segment> s) {
  if (s.empty()) return {};
  const std::string_view first = s[0].text;
  if (first == "v1" && s.size() >= 2 && s[1].text == "queue") return {Mount::queue, 2};
  if (first == "fal") return {Mount::fal, 1};
  if (first == "model" && s.size() >= 3 && s[1].text == "v1" && s[2].text == "queue")
    return {Mount::model_queue, 3};
  if (first == "admin") return {Mount::admin, 1};
  return {};
}

// How many segments are the endpoint id: up to `requests`; none for the reserved names.
std::size_t endpoint_length(std::span<const Segment> s) {
  const std::string_view first = s.empty() ? std::string_view() : s[0].text;
  if (first == "proxy" || first == "storage") return 0;
  const auto end = std::ranges::find(s, "requests", &Segment::text);
  return static_cast<std::size_t>(end - s.begin());
}

bool matches(const CompiledRoute& route, std::span<const Segment> s, std::size_t endpoint,
             RouteMatch& match) {
  std::size_t at = 0;
  std::size_t params = 0;
  for (const PatternStep& step : route.steps) {
    if (step.kind == PatternStep::Kind::endpoint) {
      if (endpoint == 0) return false;
      match.endpoint = s.subspan(0, endpoint);
      at = endpoint;
      continue;
    }
    if (at >= s.size()) return false;
    if (step.kind == PatternStep::Kind::param)
      match.params[params++] = s[at];
    else if (s[at].text != step.literal)
      return false;
    ++at;
  }
  return at == s.size();
}

bool takes(const Route& route, http::Method method) {
  return !route.method || *route.method == method || (*route.method == get && method == head);
}

void add_allowed(std::string& allow, http::Method method) {
  const std::string_view name = method == get       ? "GET, HEAD"
                                : method == post    ? "POST"
                                : method == put     ? "PUT"
                                : method == delete_ ? "DELETE"
                                                    : "";
  QUERN_ASSERT(!name.empty());
  if (!allow.empty()) allow += ", ";
  allow += name;
}

bool has_escape(std::string_view text) { return text.find('%') != std::string_view::npos; }

}  // namespace

std::string_view mount_path(Mount mount) {
  switch (mount) {
    case Mount::none:
      return "";
    case Mount::queue:
      return "/v1/queue";
    case Mount::model_queue:
      return "/model/v1/queue";
    case Mount::fal:
      return "/fal";
    case Mount::admin:
      return "/admin";
  }
  return "";
}

std::span<const Route> all_routes() { return kRoutes; }

bool SplitPath::assign(std::string_view path) {
  segments_.clear();
  if (!path.starts_with('/') || path.size() == 1) return false;
  segments_.reserve(kSegmentsUsual);
  const bool any_escape = has_escape(path);
  while (!path.empty()) {
    path.remove_prefix(1);  // the slash
    const std::string_view raw = path.substr(0, path.find('/'));
    path.remove_prefix(raw.size());
    if (raw.empty() || segments_.size() == kSegmentsMax) return false;
    std::string_view text = raw;
    if (any_escape && has_escape(raw)) {
      auto decoded = http::percent_decode(raw);
      if (!decoded) return false;
      decoded_.push_back(std::make_unique<std::string>(std::move(*decoded)));
      text = *decoded_.back();
    }
    segments_.push_back({raw, text});
  }
  return true;
}

RouteMatch match_route(http::Method method, const SplitPath& path, bool valid) {
  RouteMatch match;
  const std::span<const Segment> all = path.segments();
  const MountPlace place = find_mount(all);
  match.mount = place.mount;
  if (place.mount != Mount::none) match.access = Access::key;
  if (!valid) return match;

  const std::span<const Segment> rest = all.subspan(place.segments);
  const Mount table = place.mount == Mount::model_queue ? Mount::queue : place.mount;
  const std::size_t endpoint = table == Mount::fal ? endpoint_length(rest) : 0;
  for (const CompiledRoute& candidate : index()[static_cast<std::size_t>(table)]) {
    if (!matches(candidate, rest, endpoint, match)) continue;
    const bool fits = takes(*candidate.route, method);
    // Under a mount a route that is open is so for its own methods.
    if (fits || place.mount == Mount::none || candidate.route->access != Access::open)
      match.access = candidate.route->access;
    if (fits) {
      match.route = candidate.route;
      return match;
    }
    add_allowed(match.allow, *candidate.route->method);
  }
  return match;
}

}  // namespace quern::api
