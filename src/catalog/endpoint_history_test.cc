#include "catalog/endpoint_history.h"

#include <gtest/gtest.h>

namespace quern {
namespace {

std::shared_ptr<const Catalog> make_catalog(std::string id, std::vector<std::string> aliases) {
  Model model;
  model.id = std::move(id);
  model.aliases = std::move(aliases);
  return Catalog::make({model}).value();
}

TEST(EndpointHistory, KnowsWhatWasAnAliasOfAModelOnce) {
  EndpointHistory history;
  EXPECT_TRUE(history.add(*make_catalog("dev", {"fal-ai/flux/dev", "acme/old"})));
  EXPECT_FALSE(history.add(*make_catalog("dev", {"acme/old"})));
  EXPECT_TRUE(history.add(*make_catalog("fast", {"acme/new/fast"})));

  for (const std::string_view endpoint : {"fal-ai/flux/dev", "fal-ai/flux", "acme/old"}) {
    EXPECT_TRUE(history.has("dev", endpoint)) << endpoint;
    EXPECT_FALSE(history.has("fast", endpoint)) << endpoint;
  }
  EXPECT_TRUE(history.has("fast", "acme/new"));
  for (const std::string_view endpoint : {"", "acme", "acme/new", "dev", "fal-ai/flux/dev/x"}) {
    EXPECT_FALSE(history.has("dev", endpoint)) << endpoint;
  }
}

TEST(EndpointHistory, ReadsBackWhatItWrote) {
  EndpointHistory history;
  history.add(*make_catalog("b", {"x/two/v1", "x/one"}));
  history.add(*make_catalog("a", {"y/z"}));
  EXPECT_EQ(history.to_text(), "b x/two/v1\nb x/one\na y/z\n");

  const EndpointHistory again = EndpointHistory::parse(history.to_text());
  EXPECT_EQ(again.to_text(), history.to_text());
  EXPECT_TRUE(again.has("b", "x/two") && again.has("a", "y/z"));
}

TEST(EndpointHistory, PassesOverLinesThatAreNone) {
  const EndpointHistory history =
      EndpointHistory::parse("\n \nm\nm one\na/b x/y\nm x/y z\nm x/requests\nm x/y\nm x/y\nm w/v");
  EXPECT_EQ(history.to_text(), "m x/y\nm w/v\n");
}

TEST(EndpointHistory, ForgetsTheOldestOfTooMany) {
  EndpointHistory history;
  std::vector<std::string> aliases;
  for (std::size_t i = 0; i <= kEndpointHistoryMax; ++i)
    aliases.push_back("a/b/" + std::to_string(i));
  history.add(*make_catalog("m", aliases));

  EXPECT_FALSE(history.has("m", "a/b/0"));
  EXPECT_TRUE(history.has("m", "a/b/1") && history.has("m", "a/b"));
  EXPECT_TRUE(history.has("m", "a/b/" + std::to_string(kEndpointHistoryMax)));
}

}  // namespace
}  // namespace quern
