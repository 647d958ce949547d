#include "catalog/schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "catalog/text_pattern.h"

namespace quern {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

json::object read(std::string_view text) { return parse_json(text).value().as_object(); }

std::shared_ptr<const Schema> compile(std::string_view text) {
  auto schema = Schema::compile(read(text));
  EXPECT_TRUE(schema.has_value()) << (schema ? "" : schema.error().message);
  return schema.value();
}

// "loc type msg" of each fault.
std::vector<std::string> faults(std::string_view schema, std::string_view input) {
  std::vector<std::string> lines;
  for (const InputFault& fault : compile(schema)->check(read(input))) {
    std::string line;
    for (const json::value& step : fault.loc) {
      line += step.is_string() ? std::string(step.get_string()) : to_json(step);
      line += &step == &fault.loc.back() ? "" : ".";
    }
    lines.push_back(line + " " + fault.type + " " + fault.msg);
  }
  return lines;
}

// The faults of `value` under `schema`, as property "v".
std::vector<std::string> faults_of(std::string_view schema, std::string_view value) {
  return faults(R"({"properties":{"v":)" + std::string(schema) + "}}",
                R"({"v":)" + std::string(value) + "}");
}

std::string mistake(std::string_view schema) {
  const auto compiled = Schema::compile(read(schema));
  if (compiled) return "accepted";
  EXPECT_EQ(compiled.error().code, ErrorCode::invalid_argument);
  return compiled.error().message;
}

json::object filled(std::string_view schema, std::string_view input) {
  json::object object = read(input);
  EXPECT_TRUE(compile(schema)->fill_defaults(object));
  return object;
}

constexpr std::string_view kImageSchema = R"({
  "type": "object", "required": ["prompt"], "additionalProperties": false,
  "properties": {
    "prompt": {"type": "string", "minLength": 1},
    "num_images": {"type": "integer", "minimum": 1, "maximum": 4, "default": 1},
    "image_size": {"enum": ["square", "portrait", "landscape"], "default": "square"},
    "image_url": {"type": "string", "format": "uri", "x-quern-file": true}
  }})";

TEST(Schema, AcceptsAnInputThatFits) {
  EXPECT_THAT(faults(kImageSchema, R"({"prompt":"a cat"})"), IsEmpty());
  EXPECT_THAT(faults(kImageSchema, R"({"prompt":"a cat","num_images":4,"image_size":"square",
                                       "image_url":"https://example.com/a.png"})"),
              IsEmpty());
  EXPECT_THAT(faults("{}", R"({"anything":[1,{"x":null}]})"), IsEmpty());
}

TEST(Schema, NamesEveryFaultAtOnceInTheOrderOfTheSchema) {
  EXPECT_THAT(
      faults(kImageSchema, R"({"sise":1,"image_url":"a.png","image_size":"big","num_images":0})"),
      ElementsAre("prompt missing Field required",
                  "num_images greater_than_equal Input should be greater than or equal to 1",
                  "image_size enum Input should be 'square', 'portrait' or 'landscape'",
                  "image_url url_parsing Input should be a valid URL, relative URL without a base",
                  "sise extra_forbidden Extra inputs are not permitted"));
}

TEST(Schema, NamesWrongTypesAsPydanticDoes) {
  EXPECT_THAT(faults_of(R"({"type":"string"})", "1"),
              ElementsAre("v string_type Input should be a valid string"));
  EXPECT_THAT(faults_of(R"({"type":"integer"})", "\"1\""),
              ElementsAre("v int_type Input should be a valid integer"));
  EXPECT_THAT(
      faults_of(R"({"type":"integer"})", "1.5"),
      ElementsAre(
          "v int_from_float Input should be a valid integer, got a number with a fractional part"));
  EXPECT_THAT(faults_of(R"({"type":"number"})", "true"),
              ElementsAre("v float_type Input should be a valid number"));
  EXPECT_THAT(faults_of(R"({"type":"boolean"})", "0"),
              ElementsAre("v bool_type Input should be a valid boolean"));
  EXPECT_THAT(faults_of(R"({"type":"array"})", "{}"),
              ElementsAre("v list_type Input should be a valid list"));
  EXPECT_THAT(faults_of(R"({"type":"object"})", "[]"),
              ElementsAre("v dict_type Input should be a valid dictionary"));
  EXPECT_THAT(faults_of(R"({"type":"null"})", "0"),
              ElementsAre("v none_required Input should be None"));
}

TEST(Schema, TakesAWholeNumberForAnIntegerHoweverItIsWritten) {
  for (const std::string_view value :
       {"1", "1.0", "1e3", "-0.0", "18446744073709551615", "1e300"}) {
    EXPECT_THAT(faults_of(R"({"type":"integer"})", value), IsEmpty()) << value;
  }
}

TEST(Schema, NamesTheTypeThatIsWantedAmongSeveral) {
  constexpr std::string_view kNullable = R"({"type":["string","null"]})";
  EXPECT_THAT(faults_of(kNullable, "null"), IsEmpty());
  EXPECT_THAT(faults_of(kNullable, "1"),
              ElementsAre("v string_type Input should be a valid string"));
  EXPECT_THAT(faults_of(R"({"type":["string","integer"]})", "[]"),
              ElementsAre("v string_type Input should be a valid string",
                          "v int_type Input should be a valid integer"));
}

TEST(Schema, NamesLimitsOfNumbers) {
  constexpr std::string_view kOpen =
      R"({"exclusiveMinimum":0,"exclusiveMaximum":1.5,"multipleOf":0.25})";
  EXPECT_THAT(faults_of(kOpen, "0.5"), IsEmpty());
  EXPECT_THAT(faults_of(kOpen, "0"), ElementsAre("v greater_than Input should be greater than 0"));
  EXPECT_THAT(faults_of(kOpen, "1.5"), ElementsAre("v less_than Input should be less than 1.5"));
  EXPECT_THAT(faults_of(kOpen, "0.3"),
              ElementsAre("v multiple_of Input should be a multiple of 0.25"));
  EXPECT_THAT(faults_of(R"({"maximum":10.0})", "11"),
              ElementsAre("v less_than_equal Input should be less than or equal to 10"));
  EXPECT_THAT(faults_of(R"({"maximum":9007199254740992})", "9007199254740993"),
              ::testing::SizeIs(1));
}

TEST(Schema, NamesLimitsOfStringsInCharacters) {
  EXPECT_THAT(faults_of(R"({"minLength":1})", "\"\""),
              ElementsAre("v string_too_short String should have at least 1 character"));
  EXPECT_THAT(faults_of(R"({"maxLength":2})", "\"abc\""),
              ElementsAre("v string_too_long String should have at most 2 characters"));
  EXPECT_THAT(faults_of(R"({"minLength":3,"maxLength":3})", R"("é😀\u0000")"), IsEmpty());
  EXPECT_THAT(faults_of(R"({"pattern":"^[a-z]+$"})", "\"A\""),
              ElementsAre("v string_pattern_mismatch String should match pattern '^[a-z]+$'"));
}

TEST(Schema, NamesLimitsOfLists) {
  EXPECT_THAT(faults_of(R"({"minItems":1})", "[]"),
              ElementsAre("v too_short List should have at least 1 item after validation, not 0"));
  EXPECT_THAT(faults_of(R"({"maxItems":2,"items":{"type":"integer"}})", "[1,\"x\",3]"),
              ElementsAre("v too_long List should have at most 2 items after validation, not 3",
                          "v.1 int_type Input should be a valid integer"));
  EXPECT_THAT(faults_of(R"({"uniqueItems":true})", "[1,2,1.0]"),
              ElementsAre("v value_error Value error, items must not repeat"));
  EXPECT_THAT(
      faults_of(R"({"items":[{"type":"integer"},{"type":"string"}],"additionalItems":false})",
                "[1,\"a\",2]"),
      ElementsAre("v too_long List should have at most 2 items after validation, not 3"));
  EXPECT_THAT(faults_of(R"({"contains":{"const":1}})", "[2]"), ::testing::SizeIs(1));
}

TEST(Schema, NamesConstantsAndChoicesAsPythonShowsThem) {
  EXPECT_THAT(faults_of(R"({"const":"a"})", "\"b\""),
              ElementsAre("v literal_error Input should be 'a'"));
  EXPECT_THAT(faults_of(R"({"enum":["it's",1,0.5,true,null]})", "2"),
              ElementsAre("v enum Input should be \"it's\", 1, 0.5, True or None"));
  EXPECT_THAT(faults_of(R"({"type":"string","enum":["a"]})", "2"),
              ElementsAre("v enum Input should be 'a'"));
  EXPECT_THAT(faults_of(R"({"enum":[1,{"a":[2]}]})", R"({"a":[2.0]})"), IsEmpty());
}

TEST(Schema, NamesFaultsDeepInTheInput) {
  EXPECT_THAT(
      faults(R"({"properties":{"loras":{"type":"array","items":{"type":"object","required":["path"],
                         "properties":{"path":{"type":"string"},"scale":{"maximum":4}}}}}})",
             R"({"loras":[{"path":"a"},{"scale":5}]})"),
      ElementsAre("loras.1.path missing Field required",
                  "loras.1.scale less_than_equal Input should be less than or equal to 4"));
}

TEST(Schema, NamesFaultsOfObjectsByTheirNames) {
  EXPECT_THAT(faults(R"({"required":["b"],"minProperties":2,"propertyNames":{"maxLength":3},
                         "patternProperties":{"^n_":{"type":"number"}},"additionalProperties":{"type":"string"}})",
                     R"({"n_aa":"x","long":"y"})"),
              ElementsAre("b missing Field required",
                          "n_aa string_too_long String should have at most 3 characters",
                          "n_aa float_type Input should be a valid number",
                          "long string_too_long String should have at most 3 characters"));
  EXPECT_THAT(
      faults(R"({"maxProperties":1})", R"({"a":1,"b":2})"),
      ElementsAre(" too_long Dictionary should have at most 1 item after validation, not 2"));
  EXPECT_THAT(faults(R"({"properties":{"a":false}})", R"({"a":1})"),
              ElementsAre("a extra_forbidden Extra inputs are not permitted"));
  EXPECT_THAT(faults(R"({"dependencies":{"mask":["image"],"x":{"required":["y"]}}})",
                     R"({"mask":1,"x":1})"),
              ElementsAre("image missing Field required", "y missing Field required"));
}

TEST(Schema, NamesTheFaultsOfTheAlternativeThatIsMeant) {
  constexpr std::string_view kSize =
      R"({"anyOf":[{"enum":["square"],"type":"string"},
                   {"type":"object","required":["width"],"properties":{"width":{"minimum":1}}},{"type":"null"}]})";
  EXPECT_THAT(faults_of(kSize, "\"square\""), IsEmpty());
  EXPECT_THAT(faults_of(kSize, "null"), IsEmpty());
  EXPECT_THAT(faults_of(kSize, "\"round\""), ElementsAre("v enum Input should be 'square'"));
  EXPECT_THAT(faults_of(kSize, R"({"width":0})"),
              ElementsAre("v.width greater_than_equal Input should be greater than or equal to 1"));
  EXPECT_THAT(faults_of(kSize, "7"), ElementsAre("v enum Input should be 'square'",
                                                 "v dict_type Input should be a valid dictionary"));
  EXPECT_THAT(
      faults_of(R"({"oneOf":[{"type":"integer"},{"minimum":5}]})", "7"),
      ElementsAre("v value_error Value error, the value fits several alternatives, not one"));
  EXPECT_THAT(faults_of(R"({"oneOf":[{"maximum":3},{"maximum":3,"minimum":1}]})", "7"),
              ElementsAre("v less_than_equal Input should be less than or equal to 3"));
}

TEST(Schema, NamesAFaultOnceThoughSeveralRulesFindIt) {
  constexpr std::string_view kSchema = R"({
    "required":["bill"],"dependencies":{"card":["bill"]},"properties":{"n":{"type":"integer"}},
    "allOf":[{"required":["bill"]},{"properties":{"n":{"type":"integer","minimum":1}}}],
    "patternProperties":{"^n$":{"type":"integer"}}})";

  EXPECT_THAT(faults(kSchema, R"({"card":"x","n":"y"})"),
              ElementsAre(HasSubstr("n int_type"), "bill missing Field required"));
  EXPECT_THAT(
      faults(R"({"properties":{"a":{"type":"null"},"b":{"type":"null"}}})", R"({"a":1,"b":1})"),
      SizeIs(2));
}

TEST(Schema, FollowsConditionsAndNegations) {
  constexpr std::string_view kModes =
      R"({"if":{"properties":{"mode":{"const":"a"}}},"then":{"required":["x"]},"else":{"required":["y"]}})";
  EXPECT_THAT(faults(kModes, R"({"mode":"a"})"), ElementsAre("x missing Field required"));
  EXPECT_THAT(faults(kModes, R"({"mode":"b"})"), ElementsAre("y missing Field required"));
  EXPECT_THAT(faults_of(R"({"not":{"type":"string"}})", "\"x\""),
              ElementsAre("v value_error Value error, the value is of a kind that is not allowed"));
}

TEST(Schema, ChecksUris) {
  constexpr std::string_view kUri = R"({"format":"uri"})";
  for (const std::string_view good :
       {"https://example.com", "http://[::1]:80/a?b#c", "data:image/png;base64,AA==", "ftp://x/%20",
        "https://ex.org/é", "urn:isbn:1"}) {
    EXPECT_THAT(faults_of(kUri, "\"" + std::string(good) + "\""), IsEmpty()) << good;
  }
  EXPECT_THAT(faults_of(kUri, "\"\""),
              ElementsAre("v url_parsing Input should be a valid URL, input is empty"));
  EXPECT_THAT(faults_of(kUri, "\"http://\""),
              ElementsAre("v url_parsing Input should be a valid URL, empty host"));
  EXPECT_THAT(faults_of(kUri, "\"http:///x\""), ::testing::SizeIs(1));
  EXPECT_THAT(faults_of(kUri, "\"https:x\""), ::testing::SizeIs(1));
  EXPECT_THAT(faults_of(kUri, "\"//x/y\""), ::testing::SizeIs(1));
  EXPECT_THAT(faults_of(kUri, "\"1a:b\""), ::testing::SizeIs(1));
  EXPECT_THAT(faults_of(kUri, "\"http://a b\""),
              ElementsAre("v url_parsing Input should be a valid URL, invalid character"));
  EXPECT_THAT(faults_of(kUri, "5"), IsEmpty());
}

TEST(Schema, FollowsReferencesWithinTheDocument) {
  constexpr std::string_view kTree = R"({
    "$id":"https://example.com/tree", "properties":{"root":{"$ref":"#/definitions/no%25de~1x"},
                                                     "other":{"$ref":"https://example.com/tree#/properties/root"}},
    "definitions":{"no%de/x":{"type":"object","properties":{"next":{"$ref":"#/definitions/no%25de~1x"},
                                                             "value":{"type":"integer"}}}}})";
  EXPECT_THAT(faults(kTree, R"({"root":{"next":{"next":{"value":"x"}}},"other":1})"),
              ElementsAre("root.next.next.value int_type Input should be a valid integer",
                          "other dict_type Input should be a valid dictionary"));
}

TEST(Schema, SaysWhatIsWrongWithASchemaAndWhere) {
  EXPECT_EQ(mistake(R"({"type":"strin"})"), "at /type: \"strin\" is not a type");
  EXPECT_EQ(mistake(R"({"properties":{"a/b":{"minimum":"1"}}})"),
            "at /properties/a~1b/minimum: must be a number");
  EXPECT_EQ(mistake(R"({"properties":{"a":{"exclusiveMinimum":true}}})"),
            "at /properties/a/exclusiveMinimum: must be a number");
  EXPECT_EQ(mistake(R"({"properties":{"a":1}})"),
            "at /properties/a: a schema must be an object or a boolean");
  EXPECT_EQ(mistake(R"({"anyOf":[{},{"maxLength":-1}]})"),
            "at /anyOf/1/maxLength: must be a whole number, 0 or more");
  EXPECT_THAT(mistake(R"({"pattern":"("})"), HasSubstr("at /pattern: not a regular expression"));
  EXPECT_EQ(mistake(R"({"definitions":{"unused":{"enum":[]}}})"),
            "at /definitions/unused/enum: must not be empty");
  EXPECT_EQ(mistake(R"({"prefixItems":[]})"),
            "at the root: \"prefixItems\" is not a keyword of draft 7");
  for (const std::string_view wrong :
       {R"({"required":"a"})", R"({"required":[1]})", R"({"properties":[]})", R"({"items":1})",
        R"({"type":[]})", R"({"multipleOf":0})", R"({"minItems":1.5})", R"({"uniqueItems":1})",
        R"({"allOf":[]})", R"({"oneOf":{}})", R"({"format":1})", R"({"enum":1})",
        R"({"dependencies":{"a":1}})", R"({"maxLength":1e30})", R"({"items":{"$id":"x"}})",
        R"({"$ref":1})"}) {
    EXPECT_THAT(mistake(wrong), HasSubstr("at ")) << wrong;
  }
}

TEST(Schema, RefusesWhatDraft7WouldPassOver) {
  for (const std::string_view later :
       {"prefixItems", "unevaluatedItems", "unevaluatedProperties", "dependentRequired",
        "dependentSchemas", "minContains", "maxContains", "contentSchema", "$dynamicRef",
        "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$anchor", "$vocabulary"}) {
    EXPECT_EQ(mistake(R"({"properties":{"a":{")" + std::string(later) + R"(":{}}}})"),
              "at /properties/a: \"" + std::string(later) + "\" is not a keyword of draft 7");
  }
  EXPECT_EQ(
      mistake(R"({"properties":{"a":{"$ref":"#/definitions/b","maxLength":3}},
                        "definitions":{"b":{"type":"string"}}})"),
      "at /properties/a: \"maxLength\" does not count beside \"$ref\" in draft 7: put both, each "
      "in a schema of its own, into \"allOf\"");
  EXPECT_THAT(mistake(R"({"$ref":"#/definitions/b","properties":{},"definitions":{"b":{}}})"),
              HasSubstr("at the root: \"properties\" does not count beside"));
}

TEST(Schema, TakesAnnotationsBesideAReferenceAndOfLaterDrafts) {
  EXPECT_EQ(mistake(R"({"$schema":"https://json-schema.org/draft/2020-12/schema",
      "properties":{"a":{"$ref":"#/$defs/b","title":"A","description":"d","default":1,"examples":[2],
                         "$comment":"c","readOnly":true,"deprecated":true,"x-order":3,"x-quern-file":false}},
      "$defs":{"b":{"deprecated":true}}})"),
            "accepted");
}

TEST(Schema, RefusesARootThatIsNoObject) {
  EXPECT_EQ(mistake(R"({"type":"array"})"),
            "at the root: \"type\" leaves out \"object\", which every input is");
  EXPECT_EQ(mistake(R"({"$ref":"#/definitions/t","definitions":{"t":{"type":["null","string"]}}})"),
            "at /definitions/t: \"type\" leaves out \"object\", which every input is");
  EXPECT_EQ(mistake(R"({"type":["object","null"]})"), "accepted");
}

TEST(Schema, RefusesAFileMarkThatHasNoEffect) {
  constexpr std::string_view kWhy =
      ": \"x-quern-file\" has an effect only in a top-level property or in what one refers to by "
      "\"$ref\", and this is used elsewhere: mark the top-level property";
  const std::pair<std::string_view, std::string_view> cases[] = {
      {R"({"x-quern-file":true})", "at the root"},
      {R"({"properties":{"images":{"items":{"x-quern-file":true}}}})",
       "at /properties/images/items"},
      {R"({"properties":{"a":{"properties":{"b/c":{"x-quern-file":true}}}}})",
       "at /properties/a/properties/b~1c"},
      {R"({"properties":{"a":{"anyOf":[{"type":"null"},{"x-quern-file":true}]}}})",
       "at /properties/a/anyOf/1"},
      {R"({"properties":{"a":{"allOf":[{"x-quern-file":true}]}}})", "at /properties/a/allOf/0"},
      {R"({"additionalProperties":{"x-quern-file":true}})", "at /additionalProperties"},
      {R"({"then":{"properties":{"a":{"x-quern-file":true}}},"if":{}})", "at /then/properties/a"},
      // Used at the top, too.
      {R"({"properties":{"a":{"$ref":"#/definitions/f"},"l":{"items":{"$ref":"#/definitions/f"}}},
           "definitions":{"f":{"x-quern-file":true}}})",
       "at /definitions/f"},
      {R"({"properties":{"a":{"x-quern-file":true},"next":{"$ref":"#"}}})", "at /properties/a"},
  };
  for (const auto& [schema, place] : cases)
    EXPECT_EQ(mistake(schema), std::string(place) + std::string(kWhy)) << schema;

  EXPECT_EQ(mistake(R"({"properties":{"a":{"x-quern-file":"true"}}})"),
            "at /properties/a/x-quern-file: must be true or false");
  for (
      const std::string_view sound :
      {R"({"properties":{"a":{"items":{"x-quern-file":false}}}})",
       R"({"properties":{"a":{"x-quern-file":true,"items":{"x-quern-file":true}}}})",
       R"({"definitions":{"unused":{"x-quern-file":true}}})",
       R"({"$ref":"#/definitions/in","definitions":{"in":{"properties":{"a":{"$ref":"#/definitions/f"}}},
            "f":{"$ref":"#/definitions/g"},"g":{"x-quern-file":true}}})"}) {
    EXPECT_EQ(mistake(sound), "accepted") << sound;
  }
}

TEST(Schema, RefusesADefaultOfAFileThatNamesNone) {
  constexpr std::string_view kMistake =
      ": the default of an \"x-quern-file\" must be an http or https URL or a data: URI";
  for (const char* preset : {R"("")", R"("/etc/hostname")", R"("ftp://a/b")",
                             R"(["https://a/b","c.png"])", R"({"url":"b"})"}) {
    EXPECT_EQ(mistake(R"({"properties":{"i":{"x-quern-file":true,"default":)" +
                      std::string(preset) + "}}}"),
              "at /properties/i" + std::string(kMistake))
        << preset;
  }
  EXPECT_EQ(mistake(R"({"properties":{"i":{"$ref":"#/definitions/f","default":"x"}},
                        "definitions":{"f":{"x-quern-file":true,"default":"https://a/b"}}})"),
            "at /properties/i" + std::string(kMistake));
  for (const char* preset :
       {"null", R"("HTTPS://a/b")", R"("data:,x")", R"([{"url":"http://a/b","n":1}])"}) {
    EXPECT_EQ(mistake(R"({"properties":{"i":{"x-quern-file":true,"default":)" +
                      std::string(preset) + "}}}"),
              "accepted")
        << preset;
  }
}

TEST(Schema, RefusesReferencesThatLeadNowhereOutsideOrInCircles) {
  EXPECT_THAT(mistake(R"({"items":{"$ref":"https://example.com/x.json"}})"),
              HasSubstr("at /items/$ref: "));
  EXPECT_THAT(mistake(R"({"$ref":"other.json#/a"})"),
              HasSubstr("does not refer to a place in this document"));
  EXPECT_THAT(mistake(R"({"$ref":"#anchor"})"),
              HasSubstr("does not refer to a place in this document"));
  EXPECT_THAT(mistake(R"({"$ref":"#/definitions/x"})"), HasSubstr("points to nothing"));
  EXPECT_THAT(mistake(R"({"$ref":"#"})"), HasSubstr("leads back to itself"));
  EXPECT_THAT(mistake(R"({"anyOf":[{"type":"null"},{"$ref":"#"}]})"),
              HasSubstr("leads back to itself"));
  EXPECT_EQ(mistake(R"({"properties":{"next":{"$ref":"#"}}})"), "accepted");
}

TEST(Schema, RefusesChainsThatWouldExhaustTheStack) {
  std::string text = R"({"definitions":{)";
  for (int i = 20'000; i > 0; --i) {
    text += "\"d" + std::to_string(i) + "\":{\"$ref\":\"#/definitions/d" + std::to_string(i - 1) +
            "\"},";
  }
  text += R"("d0":{}}})";
  EXPECT_THAT(mistake(text), HasSubstr("too deeply nested"));
}

std::string nested(int depth) {
  std::string text = "1";
  for (int i = 0; i < depth; ++i) text = R"({"n":)" + text + "}";
  return text;
}

TEST(Schema, GivesUpOnInputsThatMultiplyAlternatives) {
  constexpr std::string_view kTwice =
      R"([{"properties":{"n":{"$ref":"#/definitions/d"}},"required":["y"]},
                                          {"properties":{"n":{"$ref":"#/definitions/d"}},"required":["z"]}])";
  const std::string definitions = R"(,"definitions":{"d":{"anyOf":)" + std::string(kTwice) + "}}}";

  EXPECT_THAT(faults(R"({"anyOf":)" + std::string(kTwice) + definitions, nested(60)),
              ElementsAre(" value_error Value error, too complex to check"));
  EXPECT_THAT(faults(R"({"not":{"$ref":"#/definitions/d"})" + definitions, nested(60)),
              ElementsAre(" value_error Value error, too complex to check"));
}

std::string array_of(std::size_t count, const std::string& item) {
  std::string items = "[" + item;
  for (std::size_t i = 1; i < count; ++i) items += "," + item;
  return items + "]";
}

TEST(Schema, GivesUpOnMoreTextThanAPatternMayCost) {
  const std::string text = '"' + std::string(16'000, 'a') + '"';

  EXPECT_THAT(faults_of(R"({"items":{"pattern":"^[a-z0-9]+( [a-z0-9]+)*$"}})", array_of(640, text)),
              ElementsAre(" value_error Value error, too complex to check"));
}

// A text that no pattern is tried on, as JSON.
std::string long_text() { return '"' + std::string(kPatternTextMax + 1, 'a') + '"'; }

constexpr std::string_view kUntried =
    "too long for a pattern, which is tried on 16384 characters at most";

TEST(Schema, NamesTextThatNoPatternIsTriedOnBesideAllOtherFaults) {
  constexpr std::string_view kSchema = R"({"properties":{
      "p":{"type":"string","pattern":"a"},"o":{"anyOf":[{"type":"string","pattern":"a"},{"type":"null"}]},
      "n":{"type":"integer"}}})";

  EXPECT_THAT(faults(kSchema, R"({"n":"x","p":)" + long_text() + R"(,"o":)" + long_text() + "}"),
              ElementsAre("p value_error Value error, this is " + std::string(kUntried),
                          "o value_error Value error, this is " + std::string(kUntried),
                          HasSubstr("n int_type")));
  EXPECT_THAT(faults_of(R"({"pattern":"a","maxLength":100})", long_text()),
              ElementsAre(HasSubstr("string_too_long")));
}

TEST(Schema, RefusesTextThatNoPatternIsTriedOnWhateverTheAnswerIsFor) {
  for (const char* rule :
       {R"({"not":{"pattern":"b"}})", R"({"oneOf":[{"pattern":"a"},{"type":"string"}]})",
        R"({"oneOf":[{"not":{"pattern":"a"}},{"type":"string"}]})",
        R"({"anyOf":[{"not":{"anyOf":[{"pattern":"b"}]}},{"type":"null"}]})",
        R"({"if":{"pattern":"a"},"then":{"maxLength":1}})"}) {
    EXPECT_THAT(faults_of(rule, long_text()),
                ElementsAre(" value_error Value error, a text is " + std::string(kUntried)))
        << rule;
  }
  EXPECT_THAT(faults(R"({"patternProperties":{"a":{"type":"null"}}})", "{" + long_text() + ":1}"),
              ElementsAre(" value_error Value error, a text is " + std::string(kUntried)));
}

TEST(Schema, TakesTextThatNoPatternIsTriedOnWhereAnotherAlternativeFits) {
  for (const char* rule :
       {R"({"anyOf":[{"pattern":"^http"},{"type":"string"}]})",
        R"({"anyOf":[{"not":{"pattern":"b"}},{"type":"string"}]})",
        R"({"anyOf":[{"anyOf":[{"pattern":"b"},{"type":"null"}]},{"type":"string"}]})"}) {
    EXPECT_THAT(faults_of(rule, long_text()), IsEmpty()) << rule;
  }
}

TEST(Schema, GivesUpOnAPatternBeforeItHasTakenAllItsTime) {
  const std::string text = '"' + std::string(16'000, 'a') + "!\"";

  // All of its tries would be 16 million.
  EXPECT_THAT(faults_of(R"({"pattern":"[a-z]{1,1000}[0-9]"})", text),
              ElementsAre(" value_error Value error, too complex to check"));
}

TEST(Schema, GivesUpOnItemsComparedOverAndOver) {
  std::string items = "[0";
  for (int i = 1; i < 40'000; ++i) items += "," + std::to_string(i);
  std::string branches = R"({"uniqueItems":true,"not":{}})";
  for (int i = 1; i < 100; ++i) branches += R"(,{"uniqueItems":true,"not":{}})";

  EXPECT_THAT(faults_of(R"({"anyOf":[)" + branches + "]}", items + "]"),
              ElementsAre(" value_error Value error, too complex to check"));
  EXPECT_THAT(faults_of(R"({"uniqueItems":true})", items + "]"), IsEmpty());
}

TEST(Schema, FindsAValueAmongManyInOneStep) {
  std::string texts = R"("v0")";
  std::string numbers = "0.0";
  for (int i = 1; i < 3'000; ++i) {
    texts += ",\"v" + std::to_string(i) + '"';
    numbers += "," + std::to_string(3'000 - i);
  }
  const std::string schema = R"({"items":{"enum":[null,{"a":1},)" + numbers + "," + texts + "]}}";

  EXPECT_THAT(faults_of(schema, array_of(20'000, R"("v2999")")), IsEmpty());
  EXPECT_THAT(faults_of(schema, array_of(20'000, "1.0")), IsEmpty());
  EXPECT_THAT(faults_of(schema, R"([null,{"a":1.0},0,2999,2999.0,"v0"])"), IsEmpty());
  for (const std::string_view wrong : {"[true]", R"([{"a":2}])", "[3000]", "[0.5]", R"(["v3000"])"})
    EXPECT_THAT(faults_of(schema, wrong), SizeIs(1)) << wrong;
}

TEST(Schema, ChecksALargeInputOfOrdinaryTextsToTheEnd) {
  constexpr std::string_view kSchema =
      R"({"items":{"type":"string","minLength":1,"maxLength":64,"pattern":"^[a-z0-9]+( [a-z0-9]+)*$"}})";

  EXPECT_THAT(faults_of(kSchema, array_of(20'000, R"("a short text 0123")")), IsEmpty());
}

TEST(Schema, ChecksLargeInputsToTheEnd) {
  std::string items = "1";
  for (int i = 0; i < 300'000; ++i) items += ",1";

  EXPECT_THAT(faults_of(R"({"items":{"type":"integer"}})", "[" + items + "]"), IsEmpty());
}

TEST(Schema, EndsAtAThousandFaults) {
  std::string items = "1";
  for (int i = 0; i < 5'000; ++i) items += ",1";

  EXPECT_EQ(faults_of(R"({"items":{"type":"string"}})", "[" + items + "]").size(), kInputFaultsMax);
}

TEST(Schema, NeverRepeatsALongNameOfTheCallerManyTimes) {
  const std::string name(900'000, 'n');
  const auto found = compile(R"({"additionalProperties":{"items":{"type":"string"}}})")
                         ->check(read("{\"" + name + "\":[1,1,1,1,1,1,1,1]}"));
  EXPECT_EQ(found.size(), 2U);
}

TEST(Schema, FillsInDefaultsAtEveryDepth) {
  constexpr std::string_view kSchema = R"({
    "properties":{"n":{"default":1}, "o":{"properties":{"p":{"default":[2]}}},
                  "l":{"items":{"$ref":"#/definitions/e"}}, "r":{"$ref":"#/definitions/e","default":{"k":0}}},
    "allOf":[{"properties":{"m":{"default":null}}}],
    "definitions":{"e":{"properties":{"f":{"default":"x"}}}}})";

  EXPECT_EQ(filled(kSchema, "{}"), read(R"({"n":1,"r":{"k":0,"f":"x"},"m":null})"));
  EXPECT_EQ(filled(kSchema, R"({"n":5,"o":{},"l":[{},{"f":1},7],"r":{},"m":2})"),
            read(R"({"n":5,"o":{"p":[2]},"l":[{"f":"x"},{"f":1},7],"r":{"f":"x"},"m":2})"));
}

TEST(Schema, FillsInDefaultsByTheOneAlternativeThatAValueCanBeMeantFor) {
  constexpr std::string_view kSchema = R"({
    "properties":{
      "size":{"anyOf":[{"$ref":"#/definitions/size"},{"enum":["square"]},{"type":"null"}]},
      "list":{"oneOf":[{"items":{"$ref":"#/definitions/size"},"type":"array"},{"$ref":"#/definitions/size"}]},
      "open":{"anyOf":[{"$ref":"#/definitions/size"},{"properties":{"d":{"default":1}}}]}},
    "definitions":{"size":{"type":"object","properties":{"w":{"default":512},"h":{"default":512}}}}})";

  EXPECT_EQ(filled(kSchema, R"({"size":{"w":256},"list":[{"h":1},{}]})"),
            read(R"({"size":{"w":256,"h":512},"list":[{"h":1,"w":512},{"w":512,"h":512}]})"));
  EXPECT_EQ(filled(kSchema, R"({"size":"square","list":{},"open":{}})"),
            read(R"({"size":"square","list":{"w":512,"h":512},"open":{}})"));
  EXPECT_EQ(filled(kSchema, R"({"size":null})"), read(R"({"size":null})"));
}

TEST(Schema, KeepsNullsAndOtherTypesAsTheyCame) {
  constexpr std::string_view kSchema =
      R"({"properties":{"o":{"properties":{"p":{"default":1}},"default":{}}}})";
  EXPECT_EQ(filled(kSchema, R"({"o":null})"), read(R"({"o":null})"));
  EXPECT_EQ(filled(kSchema, R"({"o":3})"), read(R"({"o":3})"));
  EXPECT_EQ(filled(kSchema, "{}"), read(R"({"o":{"p":1}})"));
}

// How many items of an array get `preset`, as the default of property "p", before it is too much.
std::size_t count_filled_items(const json::value& preset) {
  const auto schema = compile(R"({"properties":{"l":{"items":{"properties":{"p":{"default":)" +
                              to_json(preset) + "}}}}}}");
  for (std::size_t count = 1;; count *= 2) {
    json::object input;
    input["l"] = json::array(count, json::object());
    const auto filled = schema->fill_defaults(input);
    if (!filled) {
      EXPECT_EQ(filled.error().code, ErrorCode::invalid_argument);
      EXPECT_EQ(filled.error().message,
                "the schema's defaults would add more than 64 MiB to this input");
      return count / 2;
    }
    EXPECT_EQ(input["l"].as_array().back().at("p"), preset);
  }
}

TEST(Schema, AddsNoMoreDefaultsThanTheirLimit) {
  constexpr std::size_t kMiB = 1U << 20U;
  constexpr std::size_t kName = 1;
  constexpr std::size_t kValue = 32;

  EXPECT_EQ(count_filled_items(json::string(4 * kMiB - kName - kValue, 'x')), 16U);
  EXPECT_EQ(count_filled_items(json::string(4 * kMiB - kName - kValue + 1, 'x')), 8U);
  EXPECT_EQ(count_filled_items(json::array(4 * kMiB / kValue - 2)), 16U);
  EXPECT_EQ(count_filled_items(json::array(4 * kMiB / kValue - 1)), 8U);
}

TEST(Schema, RefusesDefaultsThatContainEachOtherWithoutEnd) {
  EXPECT_THAT(mistake(R"({"properties":{"next":{"$ref":"#","default":{}}}})"),
              HasSubstr("without an end"));
  EXPECT_THAT(
      mistake(R"({"properties":{"a":{"$ref":"#","default":{}},"b":{"$ref":"#","default":{}}}})"),
      HasSubstr("without an end"));
}

TEST(Schema, KnowsItsTopLevelPropertiesAndFiles) {
  const auto schema = compile(kImageSchema);
  EXPECT_TRUE(schema->declares("prompt"));
  EXPECT_FALSE(schema->declares("webhook_url"));
  EXPECT_THAT(schema->file_properties(), ElementsAre("image_url"));
  EXPECT_EQ(schema->document(), read(kImageSchema));

  const auto indirect = compile(R"({"allOf":[{"$ref":"#/definitions/a"}],
      "definitions":{"a":{"properties":{"u":{"$ref":"#/definitions/file"},"n":{}}},"file":{"x-quern-file":true}}})");
  EXPECT_TRUE(indirect->declares("u"));
  EXPECT_THAT(indirect->file_properties(), ElementsAre("u"));

  const auto conditional = compile(R"({"properties":{"p":{"properties":{"deep":{}}}},
      "oneOf":[{"properties":{"a":{}}},{"anyOf":[{"properties":{"b":{}}}]}],
      "if":{"properties":{"c":{}}},"then":{"properties":{"d":{}}},"else":{"properties":{"e":{}}},
      "dependencies":{"p":{"properties":{"f":{}}}}})");
  for (const char* name : {"a", "b", "c", "d", "e", "f", "p"})
    EXPECT_TRUE(conditional->declares(name)) << name;
  EXPECT_FALSE(conditional->declares("deep"));
}

}  // namespace
}  // namespace quern
