#include "cli/cli.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "cli/model_input.h"
#include "cli/progress_view.h"
#include "cli/request_log.h"
#include "cli/task_verbs.h"
#include "testing/eventually.h"
#include "testing/path_server.h"
#include "testing/scripted_server.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string content_of(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

TEST(RequestLog, FindsWhatItRememberedAndTheLatest) {
  const TempFolder folder;
  RequestLog log(folder.path() / "deep" / "requests.jsonl");

  ASSERT_TRUE(log.remember({"speech", "mmsu_1"}, "http://a"));
  ASSERT_TRUE(log.remember({"solid", "mmsu_2"}, "http://a"));

  ASSERT_TRUE(log.find("mmsu_1"));
  EXPECT_EQ(log.find("mmsu_1")->model, "speech");
  EXPECT_EQ(log.find("last")->request_id, "mmsu_2");
  EXPECT_FALSE(log.find("mmsu_3"));
  EXPECT_EQ(log.find("last", "speech")->request_id, "mmsu_1");
  EXPECT_FALSE(log.find("last", "echo"));
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

/// Keeps the environment of the other tests as it was.
class Environment {
 public:
  void set(const char* name, const char* value) {
    const char* before = std::getenv(name);
    before_.emplace_back(name,
                         before != nullptr ? std::optional<std::string>(before) : std::nullopt);
    if (value != nullptr)
      ::setenv(name, value, 1);
    else
      ::unsetenv(name);
  }
  Environment() = default;
  ~Environment() {
    for (const auto& [name, value] : before_) {
      if (value)
        ::setenv(name.c_str(), value->c_str(), 1);
      else
        ::unsetenv(name.c_str());
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  std::vector<std::pair<std::string, std::optional<std::string>>> before_;
};

TEST(RequestLog, HasAPlaceWhereTheEnvironmentNamesNone) {
  Environment environment;
  environment.set("XDG_STATE_HOME", nullptr);
  environment.set("HOME", nullptr);
  environment.set("TMPDIR", "/nonexistent");

  EXPECT_EQ(RequestLog().file(), "/tmp/quern-" + std::to_string(::getuid()) + "/requests.jsonl");
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

TEST(ModelInput, TakesWhatLooksLikeSomethingElseForTextWhereOnlyTextFits) {
  const json::value list = {{"type", {"string", "null"}}};
  const json::value optional = *parse_json(R"({"anyOf":[{"type":"string"},{"type":"null"}]})");
  const json::value choice = {{"enum", {"512", "1024"}}};
  const json::value any = {{"type", {"string", "integer"}}};

  for (const json::value* property : {&list, &optional, &choice}) {
    EXPECT_EQ(read_value("512", property), json::value("512"));
    EXPECT_EQ(read_value("true", property), json::value("true"));
    EXPECT_EQ(read_value("\"512\"", property), json::value("\"512\""));
  }
  EXPECT_EQ(read_value("null", &optional), json::value(nullptr));
  EXPECT_EQ(read_value("null", &choice), json::value("null"));
  EXPECT_EQ(read_value("512", &any), json::value(512));
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

// From the server's `requests`th request on, which is for `path`, it answers no more.
void stop_in_silence_at(const std::string& path, std::size_t requests) {
  PathServer server;
  server.hang(path);
  const TempFolder folder;
  std::ofstream(folder.path() / "a.png") << "png";
  Client client({.url = server.url(""), .key = "k", .repeats_max = 0});
  std::stop_source stop;
  const std::jthread stopper([&] {
    EXPECT_TRUE(eventually([&] { return server.request_heads().size() == requests; }));
    stop.request_stop();
  });

  const auto input = build_input(
      client, "m", {.pairs = {"image=@" + (folder.path() / "a.png").string()}}, stop.get_token());

  ASSERT_FALSE(input);
  EXPECT_EQ(input.error().fault, ClientFault::stopped);
}

TEST(ModelInput, IsStoppedWhileItAsksForTheModel) { stop_in_silence_at("/v1/models/m", 1); }

TEST(ModelInput, IsStoppedWhileItUploads) { stop_in_silence_at("/v1/files", 2); }

// Reads an object from a pipe that nobody closes, and is stopped when its beginning has been read.
void read_endless_input() {
  int ends[2];
  QUERN_ASSERT(::pipe(ends) == 0 && ::write(ends[1], "{", 1) == 1);
  QUERN_ASSERT(::dup2(ends[0], STDIN_FILENO) == STDIN_FILENO);
  std::stop_source stop;
  const std::jthread stopper([&] {
    int unread = 1;
    eventually([&] { return ::ioctl(ends[0], FIONREAD, &unread) == 0 && unread == 0; });
    stop.request_stop();
  });
  Client client({.url = "http://127.0.0.1:1", .key = "k"});
  (void)build_input(client, "m", {.pairs = {}, .json_file = "-"}, stop.get_token());
}

TEST(ModelInput, EndsTheProcessThatIsInterruptedWhileItReads) {
  EXPECT_EXIT(read_endless_input(), ::testing::ExitedWithCode(130), "");
}

// Runs `quern WORDS…` with `output` as its standard output, and ends the process.
void run_with_output(int output, std::vector<std::string> words) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  QUERN_ASSERT(::dup2(output, STDOUT_FILENO) == STDOUT_FILENO);
  std::signal(SIGPIPE, SIG_IGN);
  const auto serve = [](const ServeFlags&) { return std::puts("served") == EOF ? 1 : 0; };
  std::_Exit(run_cli(static_cast<int>(words.size()), argv.data(), serve));
}

TEST(Cli, FailsIfItsOutputCannotBeWritten) {
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  const std::vector<std::vector<std::string>> lines = {{"quern", "keys", "new"},
                                                       {"quern", "keys", "new", "--json"},
                                                       {"quern", "--help"},
                                                       {"quern", "--version"},
                                                       {"quern", "serve", "--settings"}};
  for (const auto& line : lines) {
    EXPECT_EXIT(run_with_output(full, line), ::testing::ExitedWithCode(2),
                "quern: cannot write the output: No space left on device");
  }
  EXPECT_EXIT(run_with_output(full, {"quern", "serve"}), ::testing::ExitedWithCode(0), "^$");
}

TEST(Cli, IsQuietWhenThePipeOfItsOutputIsClosed) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  ::close(ends[0]);

  EXPECT_EXIT(run_with_output(ends[1], {"quern", "keys", "new"}), ::testing::ExitedWithCode(0),
              "^$");
}

TEST(RunVerb, MakesNoTaskWhoseFilesHaveNoPlace) {
  const TempFolder folder;
  std::ofstream(folder.path() / "file") << "mine";
  std::filesystem::create_symlink("nowhere", folder.path() / "link");
  PathServer server;

  for (const char* out : {"file", "file/below/it", "link"}) {
    const ExitCode code = run_verb({.url = server.url(""), .key = "k", .quiet = true},
                                   {.model = "m", .out = (folder.path() / out).string()});
    EXPECT_EQ(code, ExitCode::usage) << out;
  }
  EXPECT_THAT(server.request_heads(), ::testing::IsEmpty());
  EXPECT_EQ(run_verb({.url = server.url(""), .key = "k", .quiet = true},
                     {.model = "m", .out = (folder.path() / "a" / "b").string()}),
            ExitCode::refused);  // the model is not there
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "a"));
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

/// Lets the verbs keep their requests in a folder of the test's own.
class StatusVerb : public ::testing::Test {
 protected:
  StatusVerb() { ::setenv("XDG_STATE_HOME", folder_.path().c_str(), 1); }
  ~StatusVerb() override { ::unsetenv("XDG_STATE_HOME"); }

 private:
  TempFolder folder_;
};

TEST_F(StatusVerb, FindsTheLatestRequestOfAModel) {
  ASSERT_TRUE(RequestLog().remember({"speech", "mmsu_1"}, "http://a"));
  ASSERT_TRUE(RequestLog().remember({"solid", "mmsu_2"}, "http://a"));
  ScriptedServer server({ScriptedServer::answer(200, R"({"status":"IN_QUEUE"})")});

  const ExitCode code =
      status_verb({.url = server.url(), .key = "k"}, {.id = "last", .model = "speech"});

  EXPECT_EQ(code, ExitCode::done);
  EXPECT_THAT(server.requests().at(0), HasSubstr("GET /v1/queue/speech/requests/mmsu_1/status"));
}

TEST_F(StatusVerb, SaysThatThereIsNoLatestRequest) {
  ::testing::internal::CaptureStderr();

  const ExitCode code = status_verb({}, {.id = "last", .model = "echo"});

  EXPECT_EQ(code, ExitCode::usage);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "quern: last: no request of the model echo was made from here; give the id of one\n");
}

struct Said {
  int code;
  std::string out;
  std::string err;
};

Said say(std::vector<std::string> words) {
  words.insert(words.begin(), "quern");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  const int code =
      run_cli(static_cast<int>(argv.size()), argv.data(), [](const ServeFlags&) { return 0; });
  return {code, ::testing::internal::GetCapturedStdout(), ::testing::internal::GetCapturedStderr()};
}

TEST(CommandLine, NamesACommandThatIsNone) {
  for (const auto& words : {std::vector<std::string>{"foo"}, {"foo", "bar", "--model", "m"}}) {
    const Said said = say(words);
    EXPECT_EQ(said.code, 2);
    EXPECT_EQ(said.err, "quern: no command 'foo'; `quern --help` lists them\n");
  }
  EXPECT_EQ(say({"admin", "foo"}).err,
            "quern admin: no command 'foo'; `quern admin --help` lists them\n");
  EXPECT_EQ(say({"status", "a", "b"}).code, 2);
  EXPECT_THAT(say({"status", "a", "b"}).err, Not(HasSubstr("command")));
  EXPECT_THAT(say({"--bad"}).err, HasSubstr("subcommand"));
  EXPECT_THAT(say({}).err, HasSubstr("subcommand"));
}

// As of a variable that is not set: nothing is done, rather than what the flag was given to prevent.
TEST(CommandLine, RefusesAFlagWithoutAValue) {
  const std::vector<std::vector<std::string>> lines = {
      {"submit", "m", "--url", "http://127.0.0.1:1", "--idempotency-key", ""},
      {"submit", "m", "--url", "http://127.0.0.1:1", "--json-input", ""},
      {"status", "last", "--model", ""},
      {"models", ""},
      {"admin", "list", "--url", "http://127.0.0.1:1", "--before", ""},
      {"serve", "--config", ""},
      {"serve", "--listen", ""},
      {"serve", "--data", ""}};
  for (const auto& line : lines) {
    const Said said = say(line);
    EXPECT_EQ(said.code, 2) << line.back();
    EXPECT_THAT(said.err, HasSubstr("is empty")) << line[0] << ' ' << line[line.size() - 2];
  }
}

TEST(CommandLine, TellsHowFilesAreGivenAndWhatACodeMeans) {
  for (const char* verb : {"run", "submit"}) {
    const Said said = say({verb, "--help"});
    EXPECT_EQ(said.code, 0);
    EXPECT_THAT(said.out, HasSubstr("name=@file uploads"));
    EXPECT_THAT(said.out, HasSubstr("@@"));
    EXPECT_THAT(said.out, HasSubstr("x-quern-file"));
    EXPECT_THAT(said.out, HasSubstr("130 interrupted"));
  }
}

// A proxy's page, or another server's answer: nothing was done, so nothing is said to have been.
TEST(AdminVerbs, TakeNoOtherAnswerForTheirOwn) {
  for (const char* answer : {"{}", "[]", "", "<html></html>"}) {
    for (const std::vector<std::string>& words : {std::vector<std::string>{"list"},
                                                  {"cancel", "--all"},
                                                  {"show", "mmsu_1"},
                                                  {"retry", "mmsu_1"},
                                                  {"purge", "mmsu_1"},
                                                  {"pause", "m"},
                                                  {"resume", "m"}}) {
      ScriptedServer server({ScriptedServer::answer(200, answer)});
      std::vector<std::string> line{"admin"};
      line.insert(line.end(), words.begin(), words.end());
      line.insert(line.end(), {"--url", server.url(), "--key", "k"});

      const Said said = say(line);

      EXPECT_EQ(said.code, 3) << words[0] << ": " << answer;
      EXPECT_EQ(said.out, "") << words[0] << ": " << answer;
      EXPECT_THAT(said.err, HasSubstr("is this the address of a Quern?"))
          << words[0] << ": " << answer;
    }
  }
}

TEST(ResultVerb, SavesBesideWhatIsThere) {
  const TempFolder folder;
  std::ofstream(folder.path() / "a.png") << "old";
  std::ofstream(folder.path() / "a.png.part") << "mine";
  std::filesystem::create_symlink("a-2.png", folder.path() / "a-2.png");  // a loop
  PathServer server;
  server.answer("/v1/queue/m/requests/mmsu_1/response",
                http_answer("200 OK", R"({"outputs":[{"type":"image","url":")" + server.url("/a") +
                                          R"(","file_name":"a.png"}]})"));
  server.answer("/a", http_answer("200 OK", "new"));

  const ExitCode code = result_verb({.url = server.url(""), .key = "k"},
                                    {.id = "mmsu_1", .model = "m", .out = folder.path().string()});

  EXPECT_EQ(code, ExitCode::done);
  EXPECT_EQ(content_of(folder.path() / "a-3.png"), "new");
  EXPECT_EQ(content_of(folder.path() / "a.png"), "old");
  EXPECT_EQ(content_of(folder.path() / "a.png.part"), "mine");
}

TEST(ProgressView, DescribesEachState) {
  EXPECT_EQ(describe_state({.status = TaskStatus::in_queue, .queue_position = 3, .eta = 12.4}),
            "IN_QUEUE  position 3, starts in about 12 s");
  EXPECT_EQ(describe_state({.status = TaskStatus::in_progress, .progress = 0.5}),
            "IN_PROGRESS  [##########----------]  50 %");
  EXPECT_EQ(describe_state({.status = TaskStatus::in_progress, .progress = 1e30}),
            "IN_PROGRESS  [####################] 100 %");
  EXPECT_EQ(
      describe_state(
          {.status = TaskStatus::completed, .error = "boom", .error_type = "INFERENCE_FAILURE"}),
      "COMPLETED  INFERENCE_FAILURE: boom");
  EXPECT_EQ(describe_state({.status = TaskStatus::completed,
                            .error = "bad\x1b]0;owned\a\xc2\x9b"
                                     "31m",
                            .error_type = "INFERENCE_FAILURE"}),
            "COMPLETED  INFERENCE_FAILURE: bad ]0;owned  31m");
}

TEST(Session, ReportsWithoutControlCharacters) {
  ::testing::internal::CaptureStderr();

  report({}, {.fault = ClientFault::failed,
              .message = "bad\x1b]0;owned\a\nmore\xc2\x9b"
                         "31m"});

  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "quern: bad ]0;owned  more 31m\n");
}

}  // namespace
}  // namespace quern
