// Another implementation of draft 7, valijson, as a witness: on random schemas and inputs both say
// the same.
//
// It is not the judge in the server because it takes 1.0 for no integer and 1.5 for a multiple of
// 1, ends strings at a zero character, and its patterns recurse once a character, so that a caller
// could exhaust the stack. The inputs here keep clear of that.

#include <gtest/gtest.h>

#include <random>
#include <valijson/adapters/boost_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

#include "catalog/schema.h"

namespace quern {
namespace {

class Generator {
 public:
  explicit Generator(std::uint32_t seed) : random_(seed) {}

  json::object input() {
    json::object object;
    for (std::size_t n = pick(5); n > 0; --n) object[name()] = value(3);
    return object;
  }

  json::object root() {
    json::object schema = rules(3);
    const json::value* type = schema.if_contains("type");  // one of an input is "object"
    if (type != nullptr && to_json(*type).find("object") == std::string::npos) schema.erase("type");
    schema["definitions"] = {{"d", rules(1)}};
    return schema;
  }

 private:
  std::size_t pick(std::size_t n) { return random_() % n; }
  bool chance(std::size_t one_in) { return pick(one_in) == 0; }
  std::int64_t small() { return static_cast<std::int64_t>(pick(3)); }
  std::string name() { return std::string(1, "abcd"[pick(4)]); }
  json::value number() {
    if (chance(4)) return static_cast<double>(pick(8)) - 3.5;
    return static_cast<std::int64_t>(pick(8)) - 3;
  }
  std::string text() { return std::string(pick(4), "xyz"[pick(3)]); }

  json::value value(int depth) {
    switch (pick(depth > 0 ? 8 : 5)) {
      case 0:
        return nullptr;
      case 1:
        return chance(2);
      case 2:
      case 3:
        return number();
      case 4:
        return json::value(text());
      case 5: {
        json::array items;
        for (std::size_t n = pick(4); n > 0; --n) items.push_back(value(depth - 1));
        return items;
      }
      default: {
        json::object object;
        for (std::size_t n = pick(4); n > 0; --n) object[name()] = value(depth - 1);
        return object;
      }
    }
  }

  json::value type() {
    static constexpr const char* kTypes[] = {"null",   "boolean", "integer", "number",
                                             "string", "array",   "object"};
    if (!chance(3)) return kTypes[pick(7)];
    return json::array{kTypes[pick(3)], kTypes[3 + pick(4)]};
  }

  json::array list(int depth) {
    json::array schemas;
    for (std::size_t n = 1 + pick(3); n > 0; --n) schemas.push_back(rules(depth));
    return schemas;
  }

  json::object named(int depth) {
    json::object schemas;
    for (std::size_t n = pick(4); n > 0; --n) schemas[name()] = rules(depth);
    return schemas;
  }

  json::array names() {
    json::array all;
    if (chance(2)) all.emplace_back("a");
    if (chance(2)) all.emplace_back("b");
    return all;
  }

  json::object rules(int depth) {
    json::object schema;
    for (std::size_t n = small(); n > 0; --n) add_keyword(schema, depth);
    if (depth > 0 && chance(2)) schema["properties"] = named(depth - 1);
    if (depth < 3 && chance(12)) return {{"$ref", "#/definitions/d"}};
    return schema;
  }

  void add_keyword(json::object& schema, int depth) {
    switch (pick(depth > 0 ? 25 : 12)) {
      case 0:
      case 1:
        schema["type"] = type();
        return;
      case 2:
        schema["enum"] = json::array{value(1), value(1), value(0)};
        return;
      case 3:
        schema["const"] = value(1);
        return;
      case 4:
        schema[chance(2) ? "minimum" : "exclusiveMinimum"] = number();
        return;
      case 5:
        schema[chance(2) ? "maximum" : "exclusiveMaximum"] = number();
        return;
      case 6:
        schema["minLength"] = small();
        return;
      case 7:
        schema["maxLength"] = small();
        return;
      case 8:
        schema["pattern"] = chance(2) ? "x" : "^(y|z)*$";
        return;
      case 9:
        schema[chance(2) ? "minItems" : "maxItems"] = small();
        return;
      case 10:
        schema[chance(2) ? "minProperties" : "maxProperties"] = small();
        return;
      case 11:
        schema["required"] = names();
        return;
      case 12:
        schema["uniqueItems"] = true;
        return;
      case 13:
        schema["items"] = rules(depth - 1);
        return;
      case 14:
        schema["items"] = list(depth - 1);
        if (chance(2))
          schema["additionalItems"] =
              chance(2) ? json::value(false) : json::value(rules(depth - 1));
        return;
      case 15:
        schema["contains"] = rules(depth - 1);
        return;
      case 16:
      case 17:
        schema["additionalProperties"] =
            chance(2) ? json::value(false) : json::value(rules(depth - 1));
        return;
      case 18:
        schema["patternProperties"] = json::object{{"[ab]", rules(depth - 1)}};
        return;
      case 19:
        schema["dependencies"] = json::object{{"a", json::array{"b"}}, {"b", rules(depth - 1)}};
        return;
      case 20:
        schema["allOf"] = list(depth - 1);
        return;
      case 21:
        schema["anyOf"] = list(depth - 1);
        return;
      case 22:
        schema["oneOf"] = list(depth - 1);
        return;
      case 23:
        schema["not"] = rules(depth - 1);
        return;
      default:
        schema["if"] = rules(depth - 1);
        schema["then"] = rules(depth - 1);
        schema["else"] = rules(depth - 1);
    }
  }

  std::mt19937 random_;
};

class Witness {
 public:
  explicit Witness(const json::object& document) : document_(document) {
    valijson::SchemaParser parser(valijson::SchemaParser::kDraft7);
    parser.populateSchema(valijson::adapters::BoostJsonAdapter(document_), schema_);
  }
  bool accepts(const json::object& input) {
    const json::value value(input);
    return validator_.validate(schema_, valijson::adapters::BoostJsonAdapter(value), nullptr);
  }

 private:
  json::value document_;
  valijson::Schema schema_;
  valijson::Validator validator_;
};

// Every step of the loc but the last leads to a value of the input.
bool leads_into(const InputFault& fault, const json::object& input) {
  const json::value root(input);
  const json::value* at = &root;
  for (const json::value& step : fault.loc) {
    if (at == nullptr) return false;
    if (step.is_string() != at->is_object()) return false;
    at = step.is_string() ? at->get_object().if_contains(step.get_string())
                          : at->as_array().if_contains(static_cast<std::size_t>(step.as_int64()));
  }
  return true;
}

TEST(SchemaWitness, AgreesOnRandomSchemasAndInputs) {
  int valid = 0;
  int invalid = 0;
  for (std::uint32_t seed = 1; seed <= 3'000; ++seed) {
    Generator generator(seed);
    const json::object document = generator.root();
    const auto schema = Schema::compile(document);
    if (!schema) {  // a definition may refer to itself
      ASSERT_NE(schema.error().message.find("itself"), std::string::npos) << schema.error().message;
      continue;
    }
    Witness witness(document);
    for (int i = 0; i < 10; ++i) {
      const json::object input = generator.input();
      const auto faults = (*schema)->check(input);
      ASSERT_EQ(faults.empty(), witness.accepts(input)) << "seed " << seed << "\n"
                                                        << to_json(document) << "\n"
                                                        << to_json(input);
      for (const InputFault& fault : faults) ASSERT_TRUE(leads_into(fault, input)) << fault.msg;
      ++(faults.empty() ? valid : invalid);
    }
  }
  EXPECT_GT(valid, 3'000);
  EXPECT_GT(invalid, 3'000);
}

}  // namespace
}  // namespace quern
