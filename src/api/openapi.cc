// GET /openapi.json: OpenAPI 3.1, every route, and each model's input schema. Made once per
// configuration.

#include <fmt/format.h>

#include "api/call.h"
#include "api/handlers.h"
#include "api/model_json.h"
#include "base/assert.h"
#include "base/json.h"

namespace quern::api {
namespace {

json::object schema_ref(std::string_view schema) {
  return {{"$ref", fmt::format("#/components/schemas/{}", schema)}};
}

json::object json_content(json::value schema) {
  return {{"application/json", json::object{{"schema", std::move(schema)}}}};
}

json::object answer_of(std::string_view description, json::value schema) {
  return {{"description", description}, {"content", json_content(std::move(schema))}};
}

json::object parameter(std::string_view name, std::string_view in, json::object schema,
                       std::string_view description) {
  return {{"name", name},
          {"in", in},
          {"required", in == "path"},
          {"schema", std::move(schema)},
          {"description", description}};
}

json::object id_parameter() {
  return parameter("id", "path", {{"type", "string"}, {"pattern", "^mmsu_[0-9a-hjkmnp-tv-z]{26}$"}},
                   "The request_id that the create answered");
}

json::object logs_parameter() {
  return parameter("logs", "query", {{"type", "string"}, {"enum", {"0", "1", "true", "false"}}},
                   "1 or true: with log entries");
}

json::object wait_parameter() {
  return parameter("wait", "query", {{"type", "number"}, {"minimum", 0}},
                   "Hold the answer until the state changes, at most so many seconds (60 at most)");
}

struct Operation {
  std::string_view id;
  std::string_view summary;
  json::array parameters;
  json::object responses;
  json::value body;   // null: none
  bool open = false;  // no key needed
};

json::object operation_json(Operation operation) {
  json::object out{{"operationId", operation.id}, {"summary", operation.summary}};
  if (!operation.parameters.empty()) out["parameters"] = std::move(operation.parameters);
  if (!operation.body.is_null()) out["requestBody"] = std::move(operation.body);
  if (operation.open) {
    out["security"] = json::array{};
  } else {
    operation.responses["401"] = answer_of("No or an unknown key", schema_ref("AccessError"));
    operation.responses["429"] =
        answer_of("Rate limit exceeded, or the queue is full", schema_ref("AnyError"));
  }
  out["responses"] = std::move(operation.responses);
  return out;
}

void add_task_paths(json::object& paths, const std::string& tasks, std::string_view id,
                    const json::value& fixed, bool fal) {
  const auto with_id = [&](std::initializer_list<json::value> more) {
    json::array parameters;
    if (!fixed.is_null()) parameters.push_back(fixed);
    parameters.push_back(id_parameter());
    for (const json::value& one : more) parameters.push_back(one);
    return parameters;
  };
  const auto not_found = [] { return answer_of("No such task of this key", schema_ref("Error")); };
  json::object status{
      {"200", answer_of(fal ? "COMPLETED" : "The task as it stands", schema_ref("Status"))},
      {"404", not_found()}};
  if (fal) status["202"] = answer_of("Not COMPLETED yet", schema_ref("Status"));
  paths[tasks + "/{id}/status"] = json::object{
      {"get", operation_json({fmt::format("{}_status", id), "The status of a task",
                              with_id({logs_parameter(), wait_parameter()}), status, nullptr})}};
  json::object result{
      {"200", answer_of("The result", schema_ref("Result"))},
      {"404", not_found()},
      {"422", answer_of("The input was refused by the model", schema_ref("Status"))},
      {"499", answer_of("Canceled", schema_ref("Status"))},
      {"500", answer_of("Failed", schema_ref("Status"))},
      {"504", answer_of("Timed out", schema_ref("Status"))}};
  if (fal)
    result["400"] = answer_of("Still in progress", schema_ref("Error"));
  else
    result["202"] = answer_of("Not COMPLETED yet", schema_ref("Status"));
  paths[tasks + (fal ? "/{id}" : "/{id}/response")] =
      json::object{{"get", operation_json({fmt::format("{}_result", id), "The result of a task",
                                           with_id({wait_parameter()}), result, nullptr})}};
  json::object cancel{{"202", answer_of("Will be canceled", schema_ref("CancelAnswer"))},
                      {"400", answer_of("Completed already", schema_ref("CancelAnswer"))},
                      {"404", not_found()}};
  paths[tasks + "/{id}/cancel"] =
      json::object{{"put", operation_json({fmt::format("{}_cancel", id), "Cancel a task",
                                           with_id({}), cancel, nullptr})}};
}

json::object create_responses() {
  return {{"200", answer_of("Queued, durably", schema_ref("Created"))},
          {"400", answer_of("Webhook information", schema_ref("Error"))},
          {"403", answer_of("Not for this key", schema_ref("Error"))},
          {"404", answer_of("No such model", schema_ref("Error"))},
          {"413", answer_of("Body too large", schema_ref("Error"))},
          {"422", answer_of("Invalid input", schema_ref("ValidationError"))},
          {"502", answer_of("Could not be stored; nothing was queued", schema_ref("Error"))},
          {"503", answer_of("Draining", schema_ref("Error"))}};
}

// "#/definitions/x" means a place in the model's own schema, wherever that stands now.
void rebase_refs(json::value& value, std::string_view place) {
  if (value.is_array()) {
    for (json::value& item : value.get_array()) rebase_refs(item, place);
  } else if (value.is_object()) {
    for (auto& member : value.get_object()) {
      json::value& inner = member.value();
      if (member.key() == "$ref" && inner.is_string() && inner.get_string().starts_with('#'))
        inner = std::string(place) + std::string(inner.get_string().subview(1));
      else
        rebase_refs(inner, place);
    }
  }
}

json::value rebased_schema(const Model& model, std::string_view name) {
  json::value schema = schema_json(model);
  rebase_refs(schema, fmt::format("#/components/schemas/{}", name));
  return schema;
}

void add_model_paths(json::object& paths, json::object& schemas, const Model& model) {
  const std::string schema_name = "Input_" + model.id;
  schemas[schema_name] = rebased_schema(model, schema_name);
  json::array parameters{
      parameter("Idempotency-Key", "header", {{"type", "string"}, {"maxLength", 255}},
                "Repeating a create with the same key and body gets the same task")};
  json::object body{{"required", model.schema != nullptr},
                    {"content", json_content(schema_ref(schema_name))}};
  const json::object schema = schema_json(model);
  if (const json::value* examples = schema.if_contains("examples");
      examples != nullptr && examples->is_array() && !examples->get_array().empty())
    body["content"].as_object()["application/json"].as_object()["example"] =
        examples->get_array()[0];
  json::object create =
      operation_json({"create_" + model.id, model.title.empty() ? model.id : model.title,
                      parameters, create_responses(), body});
  if (!model.description.empty()) create["description"] = model.description;
  create["tags"] = json::array{"models"};
  paths["/v1/queue/" + model.id] = json::object{{"post", std::move(create)}};
}

json::object common_schemas() {
  // clang-format off
  static constexpr std::string_view kText = R"json({
    "Created": {"type": "object", "required": ["request_id", "response_url", "status_url", "cancel_url", "queue_position"],
      "properties": {"request_id": {"type": "string"}, "response_url": {"type": "string"}, "status_url": {"type": "string"},
        "cancel_url": {"type": "string"}, "queue_position": {"type": "integer", "minimum": 0}, "status": {"type": "string"}}},
    "Log": {"type": "object", "properties": {"message": {"type": "string"}, "timestamp": {"type": "string", "format": "date-time"},
        "level": {"enum": ["STDERR", "STDOUT", "ERROR", "INFO", "WARN", "DEBUG"]}, "source": {"enum": ["runner", "quern"]},
        "labels": {"type": "object"}}},
    "Status": {"type": "object", "required": ["status", "request_id", "response_url", "logs"],
      "properties": {"status": {"enum": ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]}, "request_id": {"type": "string"},
        "queue_position": {"type": "integer", "minimum": 0}, "response_url": {"type": "string"},
        "logs": {"type": ["array", "null"], "items": {"$ref": "#/components/schemas/Log"}},
        "eta": {"type": "number"}, "progress": {"type": "number", "minimum": 0, "maximum": 1},
        "metrics": {"type": "object", "properties": {"inference_time": {"type": "number"}}},
        "error": {"type": "string"}, "error_type": {"type": "string"}, "detail": {"type": "string"}}},
    "Output": {"type": "object", "required": ["type"],
      "properties": {"type": {"enum": ["image", "video", "audio", "model3d", "text", "file"]}, "url": {"type": "string"},
        "content_type": {"type": "string"}, "file_name": {"type": "string"}, "file_size": {"type": "integer"},
        "width": {"type": "integer"}, "height": {"type": "integer"}, "duration": {"type": "number"},
        "text": {"type": "string"}, "metadata": {"type": "object"}}},
    "Result": {"type": "object", "required": ["request_id", "outputs", "metadata"],
      "properties": {"request_id": {"type": "string"}, "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/Output"}},
        "metadata": {"type": "object"}}},
    "CancelAnswer": {"type": "object", "required": ["status"],
      "properties": {"status": {"enum": ["CANCELLATION_REQUESTED", "ALREADY_COMPLETED", "NOT_FOUND"]}, "detail": {"type": "string"}}},
    "Error": {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}}},
    "AccessError": {"type": "object", "required": ["error", "request_id"],
      "properties": {"error": {"type": "object", "properties": {"code": {"type": "string"}, "message": {"type": "string"}}},
        "request_id": {"type": "string"}, "detail": {"type": "string"}}},
    "AnyError": {"anyOf": [{"$ref": "#/components/schemas/Error"}, {"$ref": "#/components/schemas/AccessError"}]},
    "ValidationError": {"type": "object", "required": ["detail"],
      "properties": {"detail": {"type": "array", "items": {"type": "object", "required": ["loc", "msg", "type"],
        "properties": {"loc": {"type": "array", "items": {"type": ["string", "integer"]}}, "msg": {"type": "string"}, "type": {"type": "string"}}}}}},
    "Model": {"type": "object", "required": ["id", "schema"],
      "properties": {"id": {"type": "string"}, "title": {"type": "string"}, "description": {"type": "string"},
        "modality": {"type": "string"}, "schema": {"type": "object"}, "examples": {"type": "array"},
        "aliases": {"type": "array", "items": {"type": "string"}}}},
    "ModelPage": {"type": "object", "required": ["data", "has_more"],
      "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}},
        "has_more": {"type": "boolean"}, "next_after": {"type": "string"}}},
    "File": {"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}, "content_type": {"type": "string"},
        "file_name": {"type": "string"}, "file_size": {"type": "integer"}}},
    "UploadLinks": {"type": "object", "required": ["upload_url", "file_url"],
      "properties": {"upload_url": {"type": "string"}, "file_url": {"type": "string"}}}
  })json";
  auto parsed = parse_json(kText);
  QUERN_ASSERT(parsed.has_value());
  return std::move(parsed->get_object());
  // clang-format on
}

json::object any_body(std::string_view description) {
  return {{"description", description},
          {"required", true},
          {"content", json::object{{"application/octet-stream", json::object{}}}}};
}

void add_fal_paths(json::object& paths) {
  const json::value endpoint = parameter("endpoint", "path", {{"type", "string"}},
                                         "owner/app, or a longer alias of a model");
  paths["/fal/{endpoint}"] = json::object{
      {"post", operation_json(
                   {"fal_create",
                    "Create a task as fal's clients do",
                    {endpoint},
                    create_responses(),
                    json::object{{"content", json_content(json::object{{"type", "object"}})}}})}};
  add_task_paths(paths, "/fal/{endpoint}/requests", "fal", endpoint, true);
  paths["/fal/{endpoint}/requests/{id}/status/stream"] = json::object{
      {"get", operation_json({"fal_status_stream",
                              "The status as an event stream",
                              {endpoint, id_parameter(), logs_parameter()},
                              {{"200", json::object{{"description", "Status objects as events"},
                                                    {"content", json::object{{"text/event-stream",
                                                                              json::object{}}}}}}},
                              nullptr})}};
  const json::object initiate_body{
      {"content",
       json_content(json::object{
           {"type", "object"},
           {"properties", json::object{{"content_type", json::object{{"type", "string"}}},
                                       {"file_name", json::object{{"type", "string"}}}}}})}};
  paths["/fal/storage/upload/initiate"] =
      json::object{{"post", operation_json({"upload_initiate",
                                            "A URL to PUT a file to",
                                            {},
                                            {{"200", answer_of("Where to, and where it will be",
                                                               schema_ref("UploadLinks"))}},
                                            initiate_body})}};
  paths["/fal/storage/upload/initiate-multipart"] =
      json::object{{"post", operation_json({"upload_initiate_multipart",
                                            "The same for a file in parts",
                                            {},
                                            {{"200", answer_of("Where to, and where it will be",
                                                               schema_ref("UploadLinks"))}},
                                            initiate_body})}};
}

void add_other_paths(json::object& paths) {
  paths["/v1/models"] = json::object{
      {"get",
       operation_json(
           {"list_models",
            "The models that this key may use",
            {parameter("limit", "query", {{"type", "integer"}, {"minimum", 1}, {"maximum", 1000}},
                       "Of one page"),
             parameter("after", "query", {{"type", "string"}}, "The last id of the page before")},
            {{"200", answer_of("A page", schema_ref("ModelPage"))}},
            nullptr})}};
  paths["/v1/models/{id}"] = json::object{
      {"get", operation_json({"get_model",
                              "One model",
                              {parameter("id", "path", {{"type", "string"}}, "A model id")},
                              {{"200", answer_of("The model", schema_ref("Model"))},
                               {"404", answer_of("No such model", schema_ref("Error"))}},
                              nullptr})}};
  paths["/v1/files"] =
      json::object{{"post", operation_json({"upload_file",
                                            "Upload a file, raw or as the multipart field `file`",
                                            {},
                                            {{"200", answer_of("Where it is", schema_ref("File"))},
                                             {"413", answer_of("Too large", schema_ref("Error"))}},
                                            any_body("The file")})}};
  paths["/files/{key}/{name}"] = json::object{
      {"get", operation_json({"get_file",
                              "An output or upload",
                              {parameter("key", "path", {{"type", "string"}}, "Unguessable"),
                               parameter("name", "path", {{"type", "string"}}, "The file's name")},
                              {{"200", json::object{{"description", "The file"}}},
                               {"404", answer_of("No such file", schema_ref("Error"))}},
                              nullptr,
                              true})}};
  for (const auto& [path, summary] :
       {std::pair{"/healthz", "The process lives"}, {"/readyz", "The store takes writes"}})
    paths[path] =
        json::object{{"get", operation_json({std::string_view(path).substr(1),
                                             summary,
                                             {},
                                             {{"200", json::object{{"description", "Yes"}}}},
                                             nullptr,
                                             true})}};
  paths["/metrics"] = json::object{
      {"get", operation_json({"metrics",
                              "Metrics for Prometheus",
                              {},
                              {{"200", json::object{{"description", "Text exposition format"}}}},
                              nullptr,
                              true})}};
}

std::string make_document(const Catalog& catalog) {
  json::object schemas = common_schemas();
  json::object paths;
  for (const Model& model : catalog.models()) add_model_paths(paths, schemas, model);
  const json::value model_parameter =
      parameter("model", "path", {{"type", "string"}}, "A model id");
  add_task_paths(paths, "/v1/queue/{model}/requests", "task", model_parameter, false);
  add_fal_paths(paths);
  add_other_paths(paths);
  const json::object key_scheme{{"type", "apiKey"},
                                {"in", "header"},
                                {"name", "Authorization"},
                                {"description", "`Key <secret>`; `Bearer <secret>` is the same"}};
  const json::object document{
      {"openapi", "3.1.0"},
      {"info", json::object{{"title", "Quern"},
                            {"version", "1"},
                            {"summary", "A durable queue for multimodal generation"},
                            {"description",
                             "Create a task, poll its status, fetch its result. The queue routes "
                             "are also served under /model/v1/queue."}}},
      {"security", json::array{json::object{{"key", json::array{}}}}},
      {"paths", std::move(paths)},
      {"components", json::object{{"schemas", std::move(schemas)},
                                  {"securitySchemes", json::object{{"key", key_scheme}}}}}};
  return json::serialize(document);
}

}  // namespace

void get_openapi(CallPtr call) {
  const Snapshot& snapshot = *call->snapshot;
  std::call_once(snapshot.openapi_once,
                 [&] { snapshot.openapi_json = make_document(*snapshot.catalog); });
  answer_json(std::move(call), 200, std::string(snapshot.openapi_json));
}

}  // namespace quern::api
