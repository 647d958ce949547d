#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "cli/model_input.h"
#include "cli/progress_view.h"
#include "cli/request_log.h"
#include "cli/task_verbs.h"
#include "testing/scripted_server.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

using ::testing::HasSubstr;

TEST(RequestLog, FindsWhatItRememberedAndTheLatest) {
  const TempFolder folder;
  RequestLog log(folder.path() / "deep" / "requests.jsonl");

  ASSERT_TRUE(log.remember({"speech", "mmsu_1"}, "http://a"));
  ASSERT_TRUE(log.remember({"solid", "mmsu_2"}, "http://a"));

  ASSERT_TRUE(log.find("mmsu_1"));
  EXPECT_EQ(log.find("mmsu_1")->model, "speech");
  EXPECT_EQ(log.find("last")->request_id, "mmsu_2");
  EXPECT_FALSE(log.find("mmsu_3"));
}

TEST(RequestLog, PassesOverLinesThatAreTorn) {
  const TempFolder folder;
  const std::filesystem::path file = folder.path() / "requests.jsonl";
  RequestLog log(file);
  ASSERT_TRUE(log.remember({"speech", "mmsu_1"}, "http://a"));
  std::ofstream(file, std::ios::app) << "{\"request_id\":\"mmsu_2\",\"mod";

  EXPECT_EQ(log.find("last")->request_id, "mmsu_1");
}

TEST(RequestLog, DropsTheOlderHalfWhenItGrowsTooLarge) {
  const TempFolder folder;
  const std::filesystem::path file = folder.path() / "requests.jsonl";
  RequestLog log(file);
  ASSERT_TRUE(log.remember({"speech", "mmsu_old"}, "http://a"));
  std::ofstream(file, std::ios::app) << std::string(kRequestLogBytesMax, 'x') << '\n' << "{}\n";

  ASSERT_TRUE(log.remember({"speech", "mmsu_new"}, "http://a"));

  EXPECT_FALSE(log.find("mmsu_old"));
  EXPECT_TRUE(log.find("mmsu_new"));
}

TEST(ModelInput, ReadsAValueAsTheSchemaWantsIt) {
  const json::value text = {{"type", "string"}};
  const json::value number = {{"type", "integer"}};

  EXPECT_EQ(read_value("42", &text), json::value("42"));
  EXPECT_EQ(read_value("42", &number), json::value(42));
  EXPECT_EQ(read_value("42", nullptr), json::value(42));
  EXPECT_EQ(read_value("true", nullptr), json::value(true));
  EXPECT_EQ(read_value("a b", nullptr), json::value("a b"));
  EXPECT_EQ(read_value("@@me", &text), json::value("@me"));
}

TEST(ModelInput, UploadsFilesAndLaysThePairsOverTheJsonFile) {
  const TempFolder folder;
  std::ofstream(folder.path() / "in.json") << R"({"prompt":"old","keep":1})";
  std::ofstream(folder.path() / "a.png") << "png";
  ScriptedServer server({
      ScriptedServer::answer(
          200,
          R"({"schema":{"properties":{"prompt":{"type":"string"},"image":{"type":"string","x-quern-file":true}}}})"),
      ScriptedServer::answer(200, R"({"url":"http://h/files/k/a.png"})"),
  });
  Client client({.url = server.url(), .key = "k", .repeats_max = 0});

  const auto input =
      build_input(client, "m",
                  {.pairs = {"prompt=7", "image=" + (folder.path() / "a.png").string()},
                   .json_file = (folder.path() / "in.json").string()});

  ASSERT_TRUE(input) << input.error().message;
  EXPECT_EQ(*input, R"({"prompt":"7","keep":1,"image":"http://h/files/k/a.png"})");
  EXPECT_THAT(server.requests().at(1), HasSubstr("name=\"file\""));
}

TEST(ModelInput, IsStoppedWhileItUploads) {
  const TempFolder folder;
  std::ofstream(folder.path() / "a.png") << "png";
  ScriptedServer server(
      {ScriptedServer::answer(404, "{}"), ScriptedServer::answer(200, R"({"url":"http://h/a"})")});
  Client client({.url = server.url(), .key = "k", .repeats_max = 0});
  std::stop_source stop;
  stop.request_stop();

  const auto input = build_input(
      client, "m", {.pairs = {"image=@" + (folder.path() / "a.png").string()}}, stop.get_token());

  ASSERT_FALSE(input);
  EXPECT_EQ(input.error().fault, ClientFault::stopped);
}

TEST(ModelInput, AsksForTheModelByOneSegment) {
  ScriptedServer server({ScriptedServer::answer(404, "{}")});
  Client client({.url = server.url(), .key = "k", .repeats_max = 0});

  ASSERT_TRUE(build_input(client, "../queue?x", {.pairs = {"prompt=a"}}));

  EXPECT_THAT(server.requests().at(0), HasSubstr("GET /v1/models/..%2Fqueue%3Fx HTTP/1.1\r\n"));
}

TEST(ModelInput, NamesAPairThatIsNone) {
  ScriptedServer server({ScriptedServer::answer(404, "{}")});
  Client client({.url = server.url(), .key = "k", .repeats_max = 0});

  const auto input = build_input(client, "m", {.pairs = {"prompt"}});

  ASSERT_FALSE(input);
  EXPECT_EQ(input.error().fault, ClientFault::usage);
  EXPECT_THAT(input.error().message, HasSubstr("expected name=value"));
}

TEST(ResultVerb, SaysThatAPlaceForAFileCannotBeLookedAt) {
  const TempFolder folder;
  std::filesystem::create_symlink("a.png", folder.path() / "a.png");  // a loop
  ScriptedServer server({ScriptedServer::answer(
      200, R"({"outputs":[{"type":"image","url":"http://h/a.png","file_name":"a.png"}]})")});

  const ExitCode code = result_verb({.url = server.url(), .key = "k"},
                                    {.id = "mmsu_1", .model = "m", .out = folder.path().string()});

  EXPECT_EQ(code, ExitCode::usage);
}

TEST(ProgressView, DescribesEachState) {
  EXPECT_EQ(describe_state({.status = TaskStatus::in_queue, .queue_position = 3, .eta = 12.4}),
            "IN_QUEUE  position 3, starts in about 12 s");
  EXPECT_EQ(describe_state({.status = TaskStatus::in_progress, .progress = 0.5}),
            "IN_PROGRESS  [##########----------]  50 %");
  EXPECT_EQ(
      describe_state(
          {.status = TaskStatus::completed, .error = "boom", .error_type = "INFERENCE_FAILURE"}),
      "COMPLETED  INFERENCE_FAILURE: boom");
}

}  // namespace
}  // namespace quern
