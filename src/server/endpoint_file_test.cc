#include "server/endpoint_file.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "testing/process_limit.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

class EndpointFileTest : public testing::Test {
 protected:
  static std::shared_ptr<const Catalog> catalog_of(std::vector<std::string> aliases) {
    Model model;
    model.id = "m";
    model.aliases = std::move(aliases);
    return Catalog::make({model}).value();
  }
  bool knows_after_a_restart(std::string_view endpoint) const {
    return EndpointFile(file_).take_in(*catalog_of({}))->has("m", endpoint);
  }

  const TempFolder folder_;
  const std::filesystem::path file_ = folder_.path() / "aliases";
};

TEST_F(EndpointFileTest, KnowsTheAliasesOfEarlierStarts) {
  {
    EndpointFile endpoints(file_);
    endpoints.take_in(*catalog_of({"acme/old"}));
    const auto known = endpoints.take_in(*catalog_of({"acme/new"}));
    EXPECT_TRUE(known->has("m", "acme/old") && known->has("m", "acme/new"));
  }
  EXPECT_TRUE(knows_after_a_restart("acme/old") && knows_after_a_restart("acme/new"));
  EXPECT_FALSE(knows_after_a_restart("acme/other"));
}

TEST_F(EndpointFileTest, GoesOnWithoutRoomAndKeepsTheFileThatThereIs) {
  EndpointFile endpoints(file_);
  endpoints.take_in(*catalog_of({"acme/old"}));
  {
    const FileSizeLimit full(0);
    EXPECT_TRUE(endpoints.take_in(*catalog_of({"acme/new"}))->has("m", "acme/new"));
  }
  EXPECT_TRUE(knows_after_a_restart("acme/old"));
  EXPECT_FALSE(knows_after_a_restart("acme/new"));

  endpoints.take_in(*catalog_of({"acme/newest"}));
  EXPECT_TRUE(knows_after_a_restart("acme/new") && knows_after_a_restart("acme/newest"));
}

TEST_F(EndpointFileTest, GoesOnWithAFileThatCannotBeRead) {
  std::filesystem::create_directory(file_);  // opens, and fails when it is read

  EndpointFile endpoints(file_);

  EXPECT_TRUE(endpoints.take_in(*catalog_of({"acme/new"}))->has("m", "acme/new"));
  std::filesystem::remove(file_);
  EXPECT_TRUE(endpoints.take_in(*catalog_of({"acme/newer"}))->has("m", "acme/new"));
  EXPECT_TRUE(knows_after_a_restart("acme/newer"));
}

}  // namespace
}  // namespace quern
