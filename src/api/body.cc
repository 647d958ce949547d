#include "api/body.h"

namespace quern::api {

std::optional<json::object> parse_object_body(CallPtr& call, json::storage_ptr storage) {
  std::string_view text = call->request().body;
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) text = "{}";
  auto body = parse_json(text, kJsonDepthMax, std::move(storage));
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
