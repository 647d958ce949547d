// GET /openapi.json: OpenAPI 3.1, made of the table of routes, of what openapi_text.h says of each,
// and of the models; once per configuration.

#include "api/openapi.h"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <set>
#include <utility>

#include "api/call.h"
#include "api/handlers.h"
#include "api/model_json.h"
#include "api/openapi_schema.h"
#include "api/openapi_text.h"
#include "base/assert.h"
#include "base/json.h"

namespace quern::api {
namespace {

struct Named {
  RouteHandler handler;
  std::string_view operation;  // in openapi_text.h, after the prefix of the mount
};

constexpr auto kOperations = std::to_array<Named>({
    {create_task, "create"},
    {get_status, "status"},
    {get_result, "result"},
    {cancel_task, "cancel"},
    {refuse_stream, "status_stream"},
    {stream_status, "status_stream"},
    {serve_proxied, "proxy"},
    {initiate_upload, "initiate_upload"},
    {initiate_parts, "initiate_parts"},
    {put_upload, "put_upload"},
    {put_upload_part, "put_upload_part"},
    {complete_upload, "complete_upload"},
    {post_file, "post_file"},
    {get_file, "get_file"},
    {list_models, "list_models"},
    {get_model, "get_model"},
    {get_openapi, "get_openapi"},
    {get_docs, "get_docs"},
    {get_health, "get_health"},
    {get_ready, "get_ready"},
    {get_metrics, "get_metrics"},
    {admin_list, "list"},
    {admin_get, "get"},
    {admin_purge, "purge"},
    {admin_retry, "retry"},
    {admin_cancel, "cancel"},
    {admin_pause, "pause"},
    {admin_resume, "resume"},
});

std::string_view prefix_of(Mount mount) {
  if (mount == Mount::fal) return "fal_";
  return mount == Mount::admin ? "admin_" : "";
}

std::string_view method_name(http::Method method) {
  using enum http::Method;
  QUERN_ASSERT(method == get || method == post || method == put || method == delete_);
  if (method == get) return "get";
  if (method == post) return "post";
  return method == put ? "put" : "delete";
}

std::string operation_name(const Route& route) {
  for (const Named& named : kOperations) {
    if (named.handler == route.handler)
      return std::string(prefix_of(route.mount)) + std::string(named.operation);
  }
  QUERN_ASSERT(false && "a route without an operation");
  return {};
}

json::object ref_to(std::string_view kind, std::string_view name) {
  return {{"$ref", fmt::format("#/components/{}/{}", kind, name)}};
}

// "/fal/{owner}/{app}/requests/{id}": an endpoint of several segments is no parameter of OpenAPI.
std::string path_of(Mount mount, std::string_view pattern) {
  std::string path(mount_path(mount));
  path += pattern;
  static constexpr std::string_view kEndpoint = "{endpoint}";
  if (const std::size_t at = path.find(kEndpoint); at != std::string::npos)
    path.replace(at, kEndpoint.size(), "{owner}/{app}");
  return path;
}

json::array path_parameters(std::string_view path) {
  json::array parameters;
  for (std::size_t at = path.find('{'); at != std::string_view::npos; at = path.find('{', at + 1)) {
    const std::string_view name = path.substr(at + 1, path.find('}', at) - at - 1);
    parameters.emplace_back(ref_to("parameters", name));
  }
  return parameters;
}

class Document {
 public:
  Document() {
    auto parsed = parse_json(kOpenapiText);
    QUERN_ASSERT(parsed.has_value());
    text_ = std::move(parsed->get_object());
  }

  std::string make(const Catalog& catalog, std::string_view server) {
    for (const Model& model : catalog.models()) add_model(model);
    for (const Route& route : all_routes()) {
      add_route(route, route.mount, "");
      if (route.mount == Mount::queue) add_route(route, Mount::model_queue, "model_");
    }
    json::object components;
    for (const std::string_view part :
         {"schemas", "parameters", "headers", "requestBodies", "responses", "securitySchemes"})
      components[part] = std::move(text_[part]);
    return to_json(json::object{{"openapi", "3.1.0"},
                                {"info", std::move(text_["info"])},
                                {"servers", json::array{json::object{{"url", server}}}},
                                {"tags", std::move(text_["tags"])},
                                {"security", json::array{json::object{{"key", json::array{}}},
                                                         json::object{{"bearer", json::array{}}}}},
                                {"paths", std::move(paths_)},
                                {"components", std::move(components)}});
  }

 private:
  void add_route(const Route& route, Mount mount, std::string_view id_prefix) {
    const std::string path = path_of(mount, route.pattern);
    const std::string name = operation_name(route);
    std::string id = std::string(id_prefix) + name;
    if (!ids_.insert(id).second) id += "_alias";
    add(path, route.method, id, operation_of(name, route.access, path_parameters(path)));
  }

  // A route that takes any method is listed under those that the text names.
  void add(const std::string& path, std::optional<http::Method> method, const std::string& id,
           json::object operation) {
    json::array methods;
    if (method)
      methods.emplace_back(method_name(*method));
    else
      methods = operation.at("methods").as_array();
    operation.erase("methods");
    json::value& item = paths_[path];
    if (!item.is_object()) item.emplace_object();
    for (const json::value& name : methods) {
      const std::string_view text = name.as_string();
      operation["operationId"] = methods.size() == 1 ? id : fmt::format("{}_{}", id, text);
      item.get_object()[text] = operation;
    }
  }

  // What the text says of it, with references for the names there, and what every such route has.
  json::object operation_of(std::string_view name, Access access, json::array parameters) const {
    json::object operation = text_.at("operations").at(name).as_object();
    if (const json::value* names = operation.if_contains("parameters")) {
      for (const json::value& each : names->as_array())
        parameters.emplace_back(ref_to("parameters", each.as_string()));
    }
    if (parameters.empty())
      operation.erase("parameters");
    else
      operation["parameters"] = std::move(parameters);
    if (const json::value* body = operation.if_contains("requestBody"))
      operation["requestBody"] = ref_to("requestBodies", std::string(body->as_string()));
    operation["responses"] = responses_of(operation.at("responses").as_object(), access);
    if (access == Access::open) operation["security"] = json::array{};
    return operation;
  }

  static json::object responses_of(const json::object& named, Access access) {
    json::object responses;
    for (const auto& [status, name] : named)
      responses[status] = ref_to("responses", name.as_string());
    if (access != Access::open) {
      responses["401"] = ref_to("responses", "Unauthorized");
      responses["429"] = ref_to("responses", "TooMany");
    }
    if (access == Access::admin) responses["404"] = ref_to("responses", "Fault");
    responses["default"] = ref_to("responses", "Other");
    return responses;
  }

  void add_model(const Model& model) {
    const std::string schema = "Input_" + model.id;
    text_["schemas"].as_object()[schema] =
        modern_schema(schema_json(model), "#/components/schemas/" + schema);
    json::object operation = operation_of("create", Access::key, {});
    operation["tags"] = json::array{"models"};
    operation["summary"] = model.title.empty() ? model.id : model.title;
    if (!model.description.empty()) operation["description"] = model.description;
    json::object content{{"schema", ref_to("schemas", schema)}};
    if (json::object examples = examples_of(model); !examples.empty())
      content["examples"] = std::move(examples);
    operation["requestBody"] =
        json::object{{"required", demands_members(model)},
                     {"content", json::object{{"application/json", std::move(content)}}}};
    add(path_of(Mount::queue, "/" + model.id), http::Method::post, "create_" + model.id,
        std::move(operation));
  }

  // No body counts as {}, which is what a model takes that demands nothing.
  static bool demands_members(const Model& model) {
    const json::object schema = schema_json(model);
    const json::value* required = schema.if_contains("required");
    return required != nullptr && required->is_array() && !required->get_array().empty();
  }

  // {"example_1":{"value":…},…}
  static json::object examples_of(const Model& model) {
    json::object named;
    const json::object schema = schema_json(model);
    const json::value* examples = schema.if_contains("examples");
    if (examples == nullptr || !examples->is_array()) return named;
    for (const json::value& example : examples->get_array())
      named[fmt::format("example_{}", named.size() + 1)] = json::object{{"value", example}};
    return named;
  }

  json::object text_;
  json::object paths_;
  std::set<std::string> ids_;  // of the operations so far
};

}  // namespace

std::string openapi_document(const Catalog& catalog, std::string_view public_url) {
  return Document().make(catalog, public_url.empty() ? "/" : public_url);
}

void get_openapi(CallPtr call) {
  const Snapshot& snapshot = *call->snapshot;
  std::call_once(snapshot.openapi_once, [&] {
    snapshot.openapi_json =
        openapi_document(*snapshot.catalog, call->context.base_urls.public_url());
  });
  answer_json(std::move(call), 200, std::string(snapshot.openapi_json));
}

}  // namespace quern::api
