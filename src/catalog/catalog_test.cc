#include "catalog/catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quern {
namespace {

using ::testing::HasSubstr;

Model make_model(std::string id, std::vector<std::string> aliases = {}) {
  Model model;
  model.id = std::move(id);
  model.aliases = std::move(aliases);
  return model;
}

std::string fault_of(std::vector<Model> models) {
  const auto catalog = Catalog::make(std::move(models));
  if (catalog) return "accepted";
  EXPECT_EQ(catalog.error().code, ErrorCode::invalid_argument);
  return catalog.error().message;
}

std::string id_of(const Model* model) { return model == nullptr ? "none" : model->id; }

TEST(Catalog, FindsModelsById) {
  const auto catalog = Catalog::make({make_model("echo"), make_model("flux-1.1_pro")}).value();

  EXPECT_EQ(catalog->find("flux-1.1_pro"), &catalog->models()[1]);
  EXPECT_EQ(catalog->find("flux"), nullptr);
  EXPECT_EQ(catalog->find("quern/echo"), nullptr);
  EXPECT_EQ(catalog->models().size(), 2U);
}

TEST(Catalog, FindsModelsByTheirFullAliasesAndTheirOwnName) {
  const auto catalog =
      Catalog::make({make_model("a", {"fal-ai/flux/dev", "acme/paint"}), make_model("b")}).value();

  EXPECT_EQ(id_of(catalog->find_alias("fal-ai/flux/dev")), "a");
  EXPECT_EQ(id_of(catalog->find_alias("acme/paint")), "a");
  EXPECT_EQ(id_of(catalog->find_alias("quern/b")), "b");
  EXPECT_EQ(id_of(catalog->find_alias("a")), "none");
  EXPECT_EQ(id_of(catalog->find_alias("fal-ai")), "none");
  EXPECT_EQ(id_of(catalog->find_alias("fal-ai/flux/")), "none");
  EXPECT_EQ(id_of(catalog->find_alias("fal-ai/flux/dev/x")), "none");
  EXPECT_EQ(id_of(catalog->find_alias("")), "none");
}

TEST(Catalog, FindsAModelByOwnerAndAppUnlessSeveralShareThem) {
  const auto catalog = Catalog::make({make_model("one", {"acme/solo/v1", "acme/solo/v2"}),
                                      make_model("dev", {"fal-ai/flux/dev"}),
                                      make_model("fast", {"fal-ai/flux/schnell"})})
                           .value();

  EXPECT_EQ(id_of(catalog->find_alias("acme/solo")), "one");
  EXPECT_EQ(id_of(catalog->find_alias("fal-ai/flux")), "none");
  EXPECT_EQ(id_of(catalog->find_alias("fal-ai/flux/schnell")), "fast");
}

TEST(Catalog, PrefersAFullAliasToAPrefix) {
  const auto catalog =
      Catalog::make({make_model("dev", {"x/y/dev"}), make_model("plain", {"x/y"})}).value();

  EXPECT_EQ(id_of(catalog->find_alias("x/y")), "plain");
  EXPECT_EQ(id_of(catalog->find_alias("x/y/dev")), "dev");
}

TEST(Catalog, MatchesEachModelUnderItsAliasesAndTheirPrefixes) {
  const auto catalog = Catalog::make({make_model("dev", {"fal-ai/flux/dev"}),
                                      make_model("fast", {"fal-ai/flux/schnell"})})
                           .value();
  for (const std::string_view endpoint : {"fal-ai/flux/dev", "fal-ai/flux", "quern/dev"}) {
    EXPECT_TRUE(catalog->is_endpoint_of("dev", endpoint)) << endpoint;
  }
  EXPECT_TRUE(catalog->is_endpoint_of("fast", "fal-ai/flux"));
  for (const std::string_view endpoint : {"fal-ai/flux/schnell", "quern/fast", "quern", "fal-ai",
                                          "", "fal-ai/flux/dev/", "fal-ai/fluxx", "dev"}) {
    EXPECT_FALSE(catalog->is_endpoint_of("dev", endpoint)) << endpoint;
  }
  EXPECT_TRUE(catalog->is_endpoint_of("gone", "quern/gone"));
  EXPECT_FALSE(catalog->is_endpoint_of("gone", "fal-ai/flux"));
}

TEST(Catalog, CountsOneSegmentMoreAfterWorkflowsAndComfy) {
  const auto catalog = Catalog::make({make_model("w", {"workflows/acme/paint/v1"}),
                                      make_model("c", {"comfy/acme/paint"})})
                           .value();

  EXPECT_EQ(id_of(catalog->find_alias("workflows/acme/paint")), "w");
  EXPECT_EQ(id_of(catalog->find_alias("workflows/acme")), "none");
  EXPECT_EQ(id_of(catalog->find_alias("comfy/acme/paint")), "c");
  EXPECT_TRUE(catalog->is_endpoint_of("w", "workflows/acme/paint"));
  EXPECT_FALSE(catalog->is_endpoint_of("w", "workflows/acme"));
  EXPECT_THAT(fault_of({make_model("x", {"comfy/paint"})}), HasSubstr("needs at least 3 segments"));
}

TEST(Catalog, RefusesBadIds) {
  for (const std::string_view id : {"", ".", "..", "a/b", "a b", "a%2Fb", "\xC3\xA9", "a?"}) {
    EXPECT_FALSE(is_model_id(id)) << id;
    EXPECT_NE(fault_of({make_model(std::string(id))}), "accepted") << id;
  }
  EXPECT_TRUE(is_model_id(std::string(128, 'a')));
  EXPECT_FALSE(is_model_id(std::string(129, 'a')));
  EXPECT_TRUE(is_model_id("..."));
  EXPECT_EQ(fault_of({make_model("a"), make_model("a")}), "two models have the id \"a\"");
}

TEST(Catalog, RefusesBadAliases) {
  for (const std::string_view alias :
       {"", "one", "/a/b", "a/b/", "a//b", "a/../b", "a/b c", "a/requests", "a/b/requests/c",
        "proxy/a", "storage/a", "requests/a"}) {
    EXPECT_NE(fault_of({make_model("m", {std::string(alias)})}), "accepted") << alias;
  }
  EXPECT_EQ(fault_of({make_model("m", {"a/proxy", "a/storage/b"})}), "accepted");
  EXPECT_NE(fault_of({make_model("m", {"a/" + std::string(600, 'b')})}), "accepted");

  std::string longest = "a";
  for (std::size_t i = 1; i < kAliasSegmentsMax; ++i) longest += "/b";
  EXPECT_EQ(fault_of({make_model("m", {longest})}), "accepted");
  EXPECT_THAT(fault_of({make_model("m", {longest + "/b"})}), HasSubstr("more than 16 segments"));
}

TEST(Catalog, RefusesAliasesThatAreTaken) {
  EXPECT_EQ(fault_of({make_model("m", {"a/b"}), make_model("n", {"a/b"})}),
            "model \"n\": the alias \"a/b\" is already that of \"m\"");
  EXPECT_NE(fault_of({make_model("m", {"a/b", "a/b"})}), "accepted");
  EXPECT_NE(fault_of({make_model("m", {"quern/n"}), make_model("n")}), "accepted");
}

TEST(Catalog, MayBeEmpty) {
  const auto catalog = Catalog::make({}).value();
  EXPECT_EQ(catalog->find("a"), nullptr);
  EXPECT_EQ(catalog->find_alias("quern/a"), nullptr);
}

}  // namespace
}  // namespace quern
