#include "api/openapi.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "api/openapi_schema.h"
#include "api/routes.h"
#include "base/json.h"
#include "catalog/schema.h"

namespace quern::api {
namespace {

json::object parse(std::string_view text) { return parse_json(text)->as_object(); }

json::object document_of(std::vector<Model> models) {
  return parse(openapi_document(**Catalog::make(std::move(models))));
}

Model make_model(std::string id, std::string_view schema) {
  Model model;
  model.id = std::move(id);
  if (!schema.empty()) model.schema = *Schema::compile(parse(schema));
  return model;
}

std::string documented(Mount mount, std::string_view pattern) {
  std::string path = std::string(mount_path(mount)) + std::string(pattern);
  if (const auto at = path.find("{endpoint}"); at != std::string::npos)
    path.replace(at, std::string_view("{endpoint}").size(), "{owner}/{app}");
  return path;
}

std::string_view name_of(http::Method method) {
  using enum http::Method;
  if (method == get) return "get";
  if (method == post) return "post";
  return method == put ? "put" : "delete";
}

// Every "$ref" in `value` that leads nowhere in `document`.
void collect_dangling(const json::value& value, const json::value& document,
                      std::vector<std::string>& dangling) {
  if (const json::array* list = value.if_array()) {
    for (const json::value& item : *list) collect_dangling(item, document, dangling);
  } else if (const json::object* object = value.if_object()) {
    for (const auto& [name, member] : *object) collect_dangling(member, document, dangling);
    const json::value* ref = object->if_contains("$ref");
    if (ref == nullptr) return;
    boost::system::error_code missing;
    const std::string target = http::percent_decode(std::string(ref->as_string())).value();
    if (!target.starts_with("#/") || document.find_pointer(target.substr(1), missing) == nullptr)
      dangling.push_back(target);
  }
}

TEST(Openapi, HasEveryRouteOfTheTableUnderEachOfItsMounts) {
  const json::object paths = document_of({}).at("paths").as_object();

  for (const Route& route : all_routes()) {
    std::vector<Mount> mounts = {route.mount};
    if (route.mount == Mount::queue) mounts.push_back(Mount::model_queue);
    for (const Mount mount : mounts) {
      const std::string path = documented(mount, route.pattern);
      ASSERT_TRUE(paths.contains(path)) << path;
      const json::object& item = paths.at(path).as_object();
      if (route.method)
        EXPECT_TRUE(item.contains(name_of(*route.method))) << path;
      else
        EXPECT_FALSE(item.empty()) << path;
    }
  }
}

TEST(Openapi, HasNoPathThatIsNoRoute) {
  const json::object document = document_of({make_model("one", "")});

  for (const auto& [path, item] : document.at("paths").as_object()) {
    for (const auto& [name, operation] : item.as_object()) {
      SplitPath split;
      const bool valid = split.assign(std::string_view(path));
      const auto method = name == "get"    ? http::Method::get
                          : name == "post" ? http::Method::post
                          : name == "put"  ? http::Method::put
                                           : http::Method::delete_;
      EXPECT_NE(match_route(method, split, valid).route, nullptr) << name << " " << path;
    }
  }
}

TEST(Openapi, GivesEachOperationAnIdOfItsOwnAndEveryParameterOfItsPath) {
  const json::object document = document_of({make_model("one", ""), make_model("two", "")});

  std::set<std::string> ids;
  for (const auto& [path, item] : document.at("paths").as_object()) {
    for (const auto& [method, operation] : item.as_object()) {
      EXPECT_TRUE(ids.insert(std::string(operation.at("operationId").as_string())).second)
          << operation.at("operationId");
      const json::value* parameters = operation.as_object().if_contains("parameters");
      const std::string written = parameters == nullptr ? "" : to_json(*parameters);
      for (std::size_t at = path.find('{'); at != path.npos; at = path.find('{', at + 1)) {
        const std::string name(path.substr(at + 1, path.find('}', at) - at - 1));
        EXPECT_NE(written.find("/parameters/" + name + "\""), std::string::npos) << path;
      }
    }
  }
}

TEST(Openapi, LeavesNoReferenceDangling) {
  const json::value document = document_of({make_model("with.dots-and_more", R"({
    "$id": "https://example.com/s", "definitions": {"a b": {"type": "integer"}},
    "properties": {"x": {"$ref": "https://example.com/s#/definitions/a%20b"}, "y": {"$ref": "#"}}
  })")});

  std::vector<std::string> dangling;
  collect_dangling(document, document, dangling);

  EXPECT_THAT(dangling, ::testing::IsEmpty());
}

TEST(Openapi, ShowsEachModelsInputAndAllOfItsExamples) {
  Model model = make_model("draw", R"({"required": ["prompt"],
    "properties": {"prompt": {"type": "string"}}, "examples": [{"prompt": "a"}, {"prompt": "b"}]})");
  model.title = "Draw";
  model.description = "Draws.";
  const json::object document = document_of({model});

  const json::object& create = document.at("paths").at("/v1/queue/draw").at("post").as_object();
  EXPECT_EQ(create.at("summary"), "Draw");
  EXPECT_EQ(create.at("description"), "Draws.");
  const json::value& content = create.at("requestBody").at("content").at("application/json");
  EXPECT_EQ(content.at("schema").at("$ref"), "#/components/schemas/Input_draw");
  EXPECT_EQ(content.at("examples"), json::value(parse(R"({"example_1": {"value": {"prompt": "a"}},
                                  "example_2": {"value": {"prompt": "b"}}})")));
  EXPECT_EQ(document.at("components").at("schemas").at("Input_draw").at("required"),
            json::value({"prompt"}));
}

TEST(Openapi, NamesTheServerByItsPublicUrl) {
  const auto catalog = *Catalog::make({});
  const auto server = [&](std::string_view public_url) {
    return parse(openapi_document(*catalog, public_url)).at("servers").at(0).at("url");
  };
  EXPECT_EQ(server(""), "/");
  EXPECT_EQ(server("https://quern.example/api"), "https://quern.example/api");
}

TEST(Openapi, DemandsABodyOnlyOfAModelThatDemandsMembers) {
  const json::object document =
      document_of({make_model("draw", R"({"required": ["prompt"]})"),
                   make_model("free", R"({"properties": {"a": {}}})"),
                   make_model("empty", R"({"required": []})"), make_model("echo", "")});
  const auto is_required = [&](const std::string& model) {
    return document.at("paths")
        .at("/v1/queue/" + model)
        .at("post")
        .at("requestBody")
        .at("required");
  };
  EXPECT_EQ(is_required("draw"), true);
  for (const char* model : {"free", "empty", "echo"}) EXPECT_EQ(is_required(model), false) << model;
}

struct Translation {
  const char* about;
  std::string_view draft7;
  std::string_view modern;
};

class ModernSchema : public ::testing::TestWithParam<Translation> {};

TEST_P(ModernSchema, SaysTheSame) {
  const json::object draft7 = parse(GetParam().draft7);
  ASSERT_TRUE(Schema::compile(draft7).has_value());

  EXPECT_EQ(json::value(modern_schema(draft7, "#/S")), json::value(parse(GetParam().modern)))
      << to_json(modern_schema(draft7, "#/S"));
}

INSTANTIATE_TEST_SUITE_P(
    Openapi, ModernSchema,
    ::testing::Values(
        Translation{"what both know",
                    R"({"type": "object", "properties": {"n": {"minimum": 1, "default": 2}}})",
                    R"({"type": "object", "properties": {"n": {"minimum": 1, "default": 2}}})"},
        Translation{"names of the document itself",
                    R"({"$schema": "http://json-schema.org/draft-07/schema#", "$id": "urn:x",
                        "type": "object"})",
                    R"({"type": "object"})"},
        Translation{"lists of items",
                    R"({"properties": {"a": {"items": [{"type": "string"}, true],
                        "additionalItems": false}}})",
                    R"({"properties": {"a": {"prefixItems": [{"type": "string"}, true],
                        "items": false}}})"},
        Translation{"additionalItems that mean nothing",
                    R"({"properties": {"a": {"items": {"type": "string"},
                        "additionalItems": false}}})",
                    R"({"properties": {"a": {"items": {"type": "string"}}}})"},
        Translation{"dependencies", R"({"dependencies": {"a": ["b"], "c": {"required": ["d"]}}})",
                    R"({"dependentRequired": {"a": ["b"]},
                        "dependentSchemas": {"c": {"required": ["d"]}}})"},
        Translation{"what stands beside a reference",
                    R"({"properties": {"a": {"$ref": "#/definitions/A", "title": "T",
                        "x-order": 5}}, "definitions": {"A": {"type": "integer"}}})",
                    R"({"properties": {"a": {"$ref": "#/S/definitions/A", "title": "T"}},
                        "definitions": {"A": {"type": "integer"}}})"},
        Translation{"a whole that is a reference",
                    R"({"$ref": "#/definitions/A", "x-order": 1,
                        "definitions": {"A": {"type": "object"}}})",
                    R"({"$ref": "#/S/definitions/A", "definitions": {"A": {"type": "object"}}})"},
        Translation{"references into renamed places",
                    R"({"properties": {"a": {"items": [{"type": "string"}]},
                                       "b": {"$ref": "#/properties/a/items/0"},
                                       "c": {"$ref": "#/dependencies/a"}, "d": {"$ref": "#"}},
                        "dependencies": {"a": {"required": ["b"]}}})",
                    R"({"properties": {"a": {"prefixItems": [{"type": "string"}]},
                                       "b": {"$ref": "#/S/properties/a/prefixItems/0"},
                                       "c": {"$ref": "#/S/dependentSchemas/a"}, "d": {"$ref": "#/S"}},
                        "dependentSchemas": {"a": {"required": ["b"]}}})"},
        Translation{"properties that are called like keywords",
                    R"({"properties": {"items": {"type": "string"}, "$ref": {"type": "string"},
                                       "dependencies": {"type": "object"},
                                       "x": {"$ref": "#/properties/items"}}})",
                    R"({"properties": {"items": {"type": "string"}, "$ref": {"type": "string"},
                                       "dependencies": {"type": "object"},
                                       "x": {"$ref": "#/S/properties/items"}}})"},
        Translation{"data that looks like a schema",
                    R"({"default": {"$ref": "#/x", "$id": "y"}, "examples": [{"dependencies": 1}],
                        "properties": {"a": {"const": {"items": []}, "enum": [{"$schema": 1}]}}})",
                    R"({"default": {"$ref": "#/x", "$id": "y"}, "examples": [{"dependencies": 1}],
                        "properties": {"a": {"const": {"items": []}, "enum": [{"$schema": 1}]}}})"},
        Translation{
            "references to where no keyword is",
            R"({"x-types": {"A": {"items": [true], "properties": {"b": {"$ref": "#/x-types/B"}}},
                                    "B": {"type": "null"}},
                        "properties": {"a": {"$ref": "#/x-types/A"}, "again": {"$ref": "#/x-types/A"}},
                        "$defs": {"elsewhere_0": true}})",
            R"({"x-types": {"A": {"items": [true], "properties": {"b": {"$ref": "#/x-types/B"}}},
                                    "B": {"type": "null"}},
                        "properties": {"a": {"$ref": "#/S/$defs/elsewhere_0_"},
                                       "again": {"$ref": "#/S/$defs/elsewhere_0_"}},
                        "$defs": {"elsewhere_0": true,
                                  "elsewhere_0_": {"prefixItems": [true],
                                    "properties": {"b": {"$ref": "#/S/$defs/elsewhere_1"}}},
                                  "elsewhere_1": {"type": "null"}}})"},
        Translation{"keywords that OpenAPI gives a meaning",
                    R"({"discriminator": {"propertyName": "k", "mapping": {"a": "#/definitions/a"}},
                        "xml": 1, "type": "object"})",
                    R"({"type": "object"})"}),
    [](const auto& test) {
      std::string name = test.param.about;
      for (char& c : name) c = c == ' ' ? '_' : c;
      return name;
    });

}  // namespace
}  // namespace quern::api
