// GET /v1/models and /v1/models/{id}: what this key may use.

#include <algorithm>

#include "api/errors.h"
#include "api/handlers.h"
#include "api/model_json.h"
#include "api/query_params.h"

namespace quern::api {
namespace {

constexpr std::uint64_t kPageDefault = 100;
constexpr std::uint64_t kPageMax = 1'000;

struct Page {
  std::vector<const Model*> models;
  bool more = false;
};

// The models after the one of id `after`, in the order of the configuration.
Page make_page(const Call& call, const std::string& after, std::size_t limit) {
  Page page;
  bool started = after.empty();
  for (const Model& model : call.snapshot->catalog->models()) {
    if (!started) {
      started = model.id == after;
      continue;
    }
    if (!call.key->may_use(model.id)) continue;
    if (page.models.size() == limit) {
      page.more = true;
      break;
    }
    page.models.push_back(&model);
  }
  return page;
}

}  // namespace

json::object schema_json(const Model& model) {
  if (model.schema != nullptr) return model.schema->document();
  return {{"type", "object"}};
}

json::object model_json(const Model& model) {
  json::object out{{"id", model.id}, {"object", "model"}};
  if (!model.title.empty()) out["title"] = model.title;
  if (!model.description.empty()) out["description"] = model.description;
  if (!model.modality.empty()) out["modality"] = model.modality;
  json::object schema = schema_json(model);
  if (const json::value* examples = schema.if_contains("examples")) out["examples"] = *examples;
  out["schema"] = std::move(schema);
  json::array aliases{"quern/" + model.id};
  for (const std::string& alias : model.aliases) aliases.emplace_back(alias);
  out["aliases"] = std::move(aliases);
  return out;
}

void list_models(CallPtr call) {
  std::uint64_t limit = kPageDefault;
  if (const auto text = find_param(call->query, "limit")) {
    const auto given = parse_count(*text);
    if (!given || *given == 0 || *given > kPageMax)
      return answer_invalid_parameter(std::move(call), "query", "limit",
                                      "Input should be an integer from 1 to 1000", "int_parsing");
    limit = *given;
  }
  const Page page = make_page(*call, find_param(call->query, "after").value_or(""), limit);
  json::array data;
  for (const Model* model : page.models) data.emplace_back(model_json(*model));
  json::object out{{"object", "list"}, {"data", std::move(data)}, {"has_more", page.more}};
  if (page.more) out["next_after"] = page.models.back()->id;
  answer_json(std::move(call), 200, to_json(out));
}

void get_model(CallPtr call) {
  const Model* model = call->snapshot->catalog->find(call->param(0));
  if (model == nullptr || !call->key->may_use(model->id)) {
    const std::string_view sent = call->match.params[0].raw;
    return answer_model_not_found(std::move(call), sent);
  }
  std::string body = to_json(model_json(*model));
  answer_json(std::move(call), 200, std::move(body));
}

}  // namespace quern::api
