// GET /v1/models and /v1/models/{id}: what this key may use.

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

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

// What the key may use, in the order of the configuration.
std::vector<const Model*> usable_models(const Call& call) {
  std::vector<const Model*> models;
  for (const Model& model : call.snapshot->catalog->models()) {
    if (call.key->may_use(model.id)) models.push_back(&model);
  }
  return models;
}

const std::string& id_of(const Model* model) { return model->id; }

// The models after the one of id `after`. A reload may have taken that one away since the page before: in a list in the
// order of ids its place is known all the same. Nullopt: it is not.
std::optional<Page> make_page(const std::vector<const Model*>& models, const std::string& after,
                              std::size_t limit) {
  auto begin = models.begin();
  if (!after.empty()) {
    begin = std::ranges::find(models, after, id_of);
    if (begin != models.end())
      ++begin;
    else if (std::ranges::is_sorted(models, {}, id_of))
      begin = std::ranges::upper_bound(models, after, {}, id_of);
    else
      return std::nullopt;
  }
  const auto left = static_cast<std::size_t>(models.end() - begin);
  const auto count = static_cast<std::ptrdiff_t>(std::min(limit, left));
  return Page{{begin, begin + count}, left > limit};
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
  const std::string after = find_param(call->query, "after").value_or("");
  const std::optional<Page> page = make_page(usable_models(*call), after, limit);
  if (!page)
    return answer_invalid_parameter(std::move(call), "query", "after",
                                    "Input should be the id of a model in this list",
                                    "value_error");
  json::array data;
  for (const Model* model : page->models) data.emplace_back(model_json(*model));
  json::object out{{"object", "list"}, {"data", std::move(data)}, {"has_more", page->more}};
  if (page->more) out["next_after"] = page->models.back()->id;
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
