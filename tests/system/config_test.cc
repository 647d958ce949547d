// Broken configurations and commands, as a person meets them.

#include "tests/system/system_fixture.h"

namespace quern {
namespace {

struct Ended {
  int code = 0;
  std::string log;
};

class BrokenConfig : public SystemTest {
 protected:
  // The server must end by itself.
  Ended start_broken(const std::string& text, const std::string& server_keys = "") {
    TestServer server(QUERN_BINARY, folder_.path(), text, server_keys);
    EXPECT_FALSE(server.start());
    const int code = server.reap();
    return {code, server.log()};
  }
};

TEST_F(BrokenConfig, NamesFileAndLineOfAnUnknownKey) {
  const Ended ended = start_broken("[retention]\nresult = \"1h\"\n");

  EXPECT_EQ(ended.code, 2);
  EXPECT_NE(ended.log.find("quern.toml:5: [retention] result: unknown key"), std::string::npos)
      << ended.log;
}

TEST_F(BrokenConfig, SaysWhatUnitWasExpected) {
  const Ended ended = start_broken("", "body_max = 10");

  EXPECT_EQ(ended.code, 2);
  EXPECT_NE(ended.log.find("quern.toml:3: [server] body_max: expected a size"), std::string::npos)
      << ended.log;
}

TEST_F(BrokenConfig, NamesTheLineOfASyntaxError) {
  const Ended ended = start_broken("[store\n");

  EXPECT_EQ(ended.code, 2);
  EXPECT_NE(ended.log.find("quern.toml:"), std::string::npos) << ended.log;
}

TEST_F(BrokenConfig, NamesAMissingEnvironmentVariable) {
  const Ended ended = start_broken("[[key]]\nid = \"a\"\nsecret = \"env:QUERN_TEST_NOT_SET\"\n");

  EXPECT_EQ(ended.code, 2);
  EXPECT_NE(ended.log.find("QUERN_TEST_NOT_SET is not set"), std::string::npos) << ended.log;
}

TEST_F(BrokenConfig, RefusesASchemaThatIsNone) {
  std::ofstream(folder_.path() / "schema.json") << "[1,2]";
  const Ended ended = start_broken(
      "[[model]]\nid = \"m\"\nexecutor = { kind = \"echo\" }\nschema = \"schema.json\"\n");

  EXPECT_EQ(ended.code, 2);
  EXPECT_NE(ended.log.find("schema.json: expected a JSON object"), std::string::npos) << ended.log;
}

TEST_F(BrokenConfig, SaysThatThePortIsInUse) {
  serve(config());
  const std::filesystem::path other = folder_.path() / "other";
  std::filesystem::create_directories(other);
  TestServer rival(QUERN_BINARY, other);
  std::ofstream(other / "quern.toml")
      << "[server]\nlisten = \"127.0.0.1:" << server_->port() << "\"\n";

  EXPECT_FALSE(rival.start());

  EXPECT_EQ(rival.reap(), 1);
  EXPECT_NE(rival.log().find("in use"), std::string::npos) << rival.log();
}

TEST_F(BrokenConfig, SaysAtTheStartThatNobodyCanCallWithoutAKey) {
  serve("");

  EXPECT_NE(server_->log().find("no key"), std::string::npos) << server_->log();
  const auto refused = client().submit("echo", "{}");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().http_status, 401);
}

}  // namespace
}  // namespace quern
