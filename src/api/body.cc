#include "api/body.h"

#include <boost/json/monotonic_resource.hpp>

namespace quern::api {

std::optional<json::object> parse_object_body(CallPtr& call) {
  std::string_view text = call->request().body;
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) text = "{}";
  // One piece of memory for all of a body's values, which goes with the last of them.
  auto body = parse_json(text, kJsonDepthMax,
                         json::make_shared_resource<json::monotonic_resource>(text.size() + 1'024));
  if (!body) {
    answer_invalid(std::move(call),
                   {InputFault{{}, "JSON decode error: " + body.error().message, "json_invalid"}});
    return std::nullopt;
  }
  if (!body->is_object()) {
    answer_invalid(std::move(call),
                   {InputFault{{}, "Input should be a valid dictionary", "dict_type"}});
    return std::nullopt;
  }
  return std::move(body->get_object());
}

}  // namespace quern::api
