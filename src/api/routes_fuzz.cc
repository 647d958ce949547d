// Any target: splitting and matching neither crash nor read beyond it, and what they hand out lies inside.

#include <cstddef>
#include <cstdint>

#include "api/query_params.h"
#include "api/routes.h"
#include "base/assert.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quern::api;
  const std::string_view target(reinterpret_cast<const char*>(data), size);
  const std::string_view path_text = target.substr(0, target.find('?'));
  const std::string_view query = target.substr(std::min(path_text.size() + 1, size));
  SplitPath path;
  const bool valid = path.assign(path_text);
  for (const auto method : {quern::http::Method::get, quern::http::Method::post,
                            quern::http::Method::put, quern::http::Method::other}) {
    const RouteMatch match = match_route(method, path, valid);
    QUERN_ASSERT(valid || match.route == nullptr);
    for (const Segment& segment : match.endpoint) QUERN_ASSERT(!segment.raw.empty());
  }
  (void)find_param(query, "wait");
  (void)has_param_value(query, "webhook_url");
  (void)parse_seconds(query);
  (void)parse_count(query);
  return 0;
}
