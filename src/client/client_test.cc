#include "quern/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <memory>
#include <sstream>
#include <stop_token>
#include <thread>

#include "base/json.h"
#include "testing/eventually.h"
#include "testing/path_server.h"
#include "testing/scripted_server.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

constexpr const char* kCreated = R"({"request_id":"mmsu_1","queue_position":2})";

Client make_client(const ScriptedServer& server, std::uint32_t repeats_max = 3) {
  return Client({.url = server.url(),
                 .key = "secret",
                 .repeats_max = repeats_max,
                 .backoff_min = milliseconds{1},
                 .backoff_max = milliseconds{2}});
}

std::string header_of(const std::string& request, const std::string& name) {
  const std::size_t at = request.find(name + ": ");
  return at == std::string::npos ? "" : request.substr(at, request.find("\r\n", at) - at);
}

std::string content_of(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  return names;
}

TEST(Client, RepeatsACreateUnderTheSameIdempotencyKey) {
  ScriptedServer server({ScriptedServer::answer(503, R"({"detail":"Service unavailable"})"), "",
                         ScriptedServer::answer(200, kCreated)});

  const auto task = make_client(server).submit("echo", R"({"prompt":"x"})");

  ASSERT_TRUE(task) << task.error().message;
  EXPECT_EQ(task->request_id, "mmsu_1");
  EXPECT_EQ(task->queue_position, 2U);
  const auto requests = server.requests();
  ASSERT_THAT(requests, SizeIs(3));
  EXPECT_THAT(requests[0], StartsWith("POST /v1/queue/echo HTTP/1.1\r\n"));
  EXPECT_THAT(requests[0], HasSubstr("Authorization: Key secret\r\n"));
  EXPECT_NE(header_of(requests[0], "Idempotency-Key"), "");
  EXPECT_EQ(header_of(requests[0], "Idempotency-Key"), header_of(requests[1], "Idempotency-Key"));
  EXPECT_EQ(header_of(requests[0], "Idempotency-Key"), header_of(requests[2], "Idempotency-Key"));
}

TEST(Client, GivesUpAfterTheAgreedNumberOfRepeats) {
  const std::string bad = ScriptedServer::answer(502, R"({"detail":"Runtime execution failed"})");
  ScriptedServer server({bad, bad, bad, bad, bad, bad});

  const auto task = make_client(server, 2).submit("echo", "{}");

  ASSERT_FALSE(task);
  EXPECT_EQ(task.error().fault, ClientFault::unreachable);
  EXPECT_EQ(task.error().message, "Runtime execution failed");
  EXPECT_THAT(server.requests(), SizeIs(3));
}

TEST(Client, DoesNotRepeatA404) {
  ScriptedServer server({ScriptedServer::answer(404, R"({"detail":"Request not found"})")});

  const auto status = make_client(server).status({"echo", "mmsu_1"});

  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().fault, ClientFault::not_found);
  EXPECT_EQ(status.error().message, "Request not found");
  EXPECT_THAT(server.requests(), SizeIs(1));
}

TEST(Client, TellsEveryFaultOfAnInvalidInput) {
  ScriptedServer server({ScriptedServer::answer(
      422,
      R"({"detail":[{"loc":["body","prompt"],"msg":"Field required","type":"missing"},{"loc":["body","n",0],"msg":"Bad","type":"t"}]})")});

  const auto task = make_client(server).submit("speech", "{}");

  ASSERT_FALSE(task);
  EXPECT_EQ(task.error().fault, ClientFault::refused);
  EXPECT_EQ(task.error().message, "prompt: Field required; n.0: Bad");
}

TEST(Client, RefusesWhatCannotBeSentWithoutAskingTheServer) {
  ScriptedServer server({});
  Client client = make_client(server);

  EXPECT_EQ(client.submit("", "{}").error().fault, ClientFault::usage);
  EXPECT_EQ(client.submit("a/b", "{}").error().fault, ClientFault::usage);
  EXPECT_EQ(client.submit("echo", "[1]").error().fault, ClientFault::usage);
  EXPECT_EQ(client.submit("echo", "{").error().fault, ClientFault::usage);
}

TEST(Client, TakesAFailedTaskForAFailureAndNotForABrokenServer) {
  ScriptedServer server({ScriptedServer::answer(
      500,
      R"({"status":"COMPLETED","request_id":"mmsu_1","logs":null,"error":"boom","error_type":"INFERENCE_FAILURE","detail":"boom"})")});

  const auto result = make_client(server).result({"echo", "mmsu_1"});

  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().fault, ClientFault::failed);
  EXPECT_EQ(result.error().error_type, "INFERENCE_FAILURE");
  EXPECT_EQ(result.error().message, "boom");
  EXPECT_THAT(server.requests(), SizeIs(1));
}

TEST(Client, Takes202OfAResultForNotYet) {
  ScriptedServer server(
      {ScriptedServer::answer(202, R"({"status":"IN_QUEUE","request_id":"mmsu_1","logs":null})")});

  const auto result = make_client(server).result({"echo", "mmsu_1"});

  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().http_status, 202);
}

TEST(Client, WaitsUntilCompletedAndFetchesTheResult) {
  ScriptedServer server({
      ScriptedServer::answer(
          200, R"({"status":"IN_QUEUE","request_id":"mmsu_1","queue_position":1,"logs":null})"),
      ScriptedServer::answer(
          200, R"({"status":"IN_PROGRESS","request_id":"mmsu_1","logs":null,"progress":0.5})"),
      ScriptedServer::answer(
          200,
          R"({"status":"COMPLETED","request_id":"mmsu_1","logs":null,"metrics":{"inference_time":1.5}})"),
      ScriptedServer::answer(
          200,
          R"({"request_id":"mmsu_1","outputs":[{"type":"image","url":"http://x/a.png","content_type":"image/png","file_name":"a.png","file_size":7,"width":2,"height":3},{"type":"text","text":"hi"}],"metadata":{"seed":7}})"),
  });
  std::vector<StatusReport> seen;

  const auto result = make_client(server).wait(
      {"echo", "mmsu_1"}, [&](const StatusReport& report) { seen.push_back(report); });

  ASSERT_TRUE(result) << result.error().message;
  ASSERT_THAT(seen, SizeIs(3));
  EXPECT_EQ(seen[0].queue_position, 1U);
  EXPECT_EQ(seen[1].progress, 0.5);
  EXPECT_EQ(seen[2].inference_time, 1.5);
  ASSERT_THAT(result->outputs, SizeIs(2));
  EXPECT_EQ(result->outputs[0].width, 2U);
  EXPECT_EQ(result->outputs[0].file_size, 7U);
  EXPECT_EQ(result->outputs[1].text, "hi");
  EXPECT_EQ(result->metadata, R"({"seed":7})");
}

TEST(Client, WaitsForAServerThatIsAwayForAWhile) {
  constexpr const char* kRunning = R"({"status":"IN_PROGRESS","request_id":"mmsu_1"})";
  constexpr const char* kDone = R"({"status":"COMPLETED","request_id":"mmsu_1"})";
  const std::vector<std::string> answers{ScriptedServer::answer(200, kRunning),
                                         "",
                                         "",
                                         ScriptedServer::answer(502, "bad gateway"),
                                         ScriptedServer::answer(200, kDone),
                                         "",
                                         ScriptedServer::answer(200, R"({"outputs":[]})")};
  {
    ScriptedServer server(answers);
    const auto result = make_client(server, 0).wait({"echo", "mmsu_1"});
    EXPECT_TRUE(result) << result.error().message;
  }
  ScriptedServer server(answers);
  Client impatient(
      {.url = server.url(), .key = "secret", .repeats_max = 0, .wait_patience = milliseconds{0}});
  const auto result = impatient.wait({"echo", "mmsu_1"});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().fault, ClientFault::unreachable);
  EXPECT_THAT(server.requests(), SizeIs(2));
}

TEST(Client, RepeatsOnlyCallsThatDoNoHarmTwice) {
  ScriptedServer server({"", ScriptedServer::answer(200, "{}"), "", "", ""});
  Client client = make_client(server);

  EXPECT_TRUE(client.call("GET", "/admin/models"));
  EXPECT_FALSE(client.call("POST", "/admin/tasks/mmsu_1/retry"));
  EXPECT_FALSE(client.call("DELETE", "/admin/tasks/mmsu_1"));

  EXPECT_THAT(server.requests(), SizeIs(4));
}

TEST(Client, TellsACancelThatCameTooLate) {
  ScriptedServer server({ScriptedServer::answer(202, R"({"status":"CANCELLATION_REQUESTED"})"),
                         ScriptedServer::answer(400, R"({"status":"ALREADY_COMPLETED"})")});
  Client client = make_client(server);

  EXPECT_EQ(client.cancel({"echo", "mmsu_1"}), CancelReply::requested);
  EXPECT_EQ(client.cancel({"echo", "mmsu_1"}), CancelReply::already_completed);
  EXPECT_THAT(server.requests()[0], StartsWith("PUT /v1/queue/echo/requests/mmsu_1/cancel "));
}

TEST(Client, TakesNothingButAConfirmationForACancel) {
  for (const char* body : {"", "{}", "[]", "<html></html>", R"({"status":"COMPLETED"})"}) {
    ScriptedServer server({ScriptedServer::answer(200, body)});

    const auto canceled = make_client(server, 0).cancel({"echo", "mmsu_1"});

    ASSERT_FALSE(canceled) << body;
    EXPECT_EQ(canceled.error().fault, ClientFault::refused) << body;
    EXPECT_THAT(canceled.error().message, HasSubstr("is this the address of a Quern?")) << body;
  }
}

TEST(Client, SendsNoCredentialWithADownloadAndLeavesNoHalfFile) {
  const TempFolder folder;
  ScriptedServer server({ScriptedServer::answer(200, "12345"), ScriptedServer::answer(404, "{}")});
  Client client = make_client(server);
  const ResultOutput output{.type = "file", .url = server.url() + "/files/k/a.bin"};

  const auto bytes = client.download(output, folder.path() / "a.bin");
  const auto missing = client.download(output, folder.path() / "b.bin");

  ASSERT_TRUE(bytes) << bytes.error().message;
  EXPECT_EQ(*bytes, 5U);
  EXPECT_EQ(content_of(folder.path() / "a.bin"), "12345");
  EXPECT_EQ(header_of(server.requests()[0], "Authorization"), "");
  EXPECT_EQ(missing.error().fault, ClientFault::not_found);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(Client, RepeatsADownloadThatWasCutShort) {
  const TempFolder folder;
  const std::string short_one = "HTTP/1.1 200 X\r\nConnection: close\r\n\r\n123";
  ScriptedServer server({short_one, ScriptedServer::answer(200, "12345"), short_one});
  const ResultOutput output{.type = "file", .url = server.url() + "/a.bin", .file_size = 5};

  const auto whole = make_client(server).download(output, folder.path() / "a.bin");
  const auto half = make_client(server, 0).download(output, folder.path() / "b.bin");

  ASSERT_TRUE(whole) << whole.error().message;
  EXPECT_EQ(content_of(folder.path() / "a.bin"), "12345");
  ASSERT_FALSE(half);
  EXPECT_EQ(half.error().fault, ClientFault::unreachable);
  EXPECT_EQ(half.error().message, "the file did not come whole: HTTP 200 with 3 bytes");
  EXPECT_THAT(names_in(folder.path()), UnorderedElementsAre("a.bin"));
}

TEST(Client, StopsBetweenTheRepeatsOfADownload) {
  const TempFolder folder;
  const std::string nobody = std::make_unique<ScriptedServer>(std::vector<std::string>{})->url();
  Client client({.url = nobody, .key = "k", .backoff_min = hours{1}, .backoff_max = hours{1}});
  std::stop_source stop;
  const std::jthread stopper([&] {
    // The connection is refused at once; what takes its time is the pause.
    int asked = 0;
    EXPECT_TRUE(
        eventually([&] { return !std::filesystem::is_empty(folder.path()) && ++asked == 50; }));
    stop.request_stop();
  });

  const auto bytes = client.download({.type = "file", .url = nobody + "/a.bin"},
                                     folder.path() / "a.bin", {}, stop.get_token());

  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().fault, ClientFault::stopped) << bytes.error().message;
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Client, KeepsTwoDownloadsOfOneNameApart) {
  const TempFolder folder;
  PathServer server;
  const std::string first(1 << 20, 'a');
  const std::string second(1 << 20, 'b');
  server.answer("/first", http_answer("200 OK", first));
  server.answer("/second", http_answer("200 OK", second));
  Client client({.url = server.url(""), .key = "k", .repeats_max = 0});
  Client other({.url = server.url(""), .key = "k", .repeats_max = 0});
  std::optional<ClientResult<SavedFile>> saved_by_other;
  // In the middle of the first, the other begins and ends.
  const auto interpose = [&](std::uint64_t bytes, std::uint64_t) {
    if (bytes == 0 || saved_by_other) return;
    saved_by_other =
        other.save({.url = server.url("/second"), .file_name = "a.bin"}, folder.path());
  };

  const auto saved =
      client.save({.url = server.url("/first"), .file_name = "a.bin"}, folder.path(), interpose);

  ASSERT_TRUE(saved) << saved.error().message;
  ASSERT_TRUE(saved_by_other && *saved_by_other);
  EXPECT_EQ((*saved_by_other)->path, folder.path() / "a.bin");
  EXPECT_EQ(saved->path, folder.path() / "a-2.bin");
  EXPECT_EQ(saved->size, first.size());
  EXPECT_TRUE(content_of(saved->path) == first);
  EXPECT_TRUE(content_of((*saved_by_other)->path) == second);
  EXPECT_THAT(names_in(folder.path()), UnorderedElementsAre("a.bin", "a-2.bin"));
}

TEST(Client, LeavesTheFilesOfTheFolderAsTheyAre) {
  const TempFolder folder;
  PathServer server;
  server.answer("/a", http_answer("200 OK", "new"));
  std::ofstream(folder.path() / "a.bin.part") << "mine";
  std::ofstream(folder.path() / "a.bin") << "old";
  std::filesystem::create_symlink("nowhere", folder.path() / "a-2.bin");
  Client client({.url = server.url(""), .key = "k", .repeats_max = 0});

  const auto saved = client.save({.url = server.url("/a"), .file_name = "a.bin"}, folder.path());
  const auto missing = client.save({.url = server.url("/b"), .file_name = "b"}, folder.path());
  const auto nowhere =
      client.save({.url = server.url("/a"), .file_name = "a.bin"}, folder.path() / "none");
  const auto replaced = client.download({.url = server.url("/a")}, folder.path() / "b.bin");

  ASSERT_TRUE(saved) << saved.error().message;
  EXPECT_EQ(saved->path, folder.path() / "a-3.bin");
  EXPECT_EQ(content_of(saved->path), "new");
  EXPECT_EQ(content_of(folder.path() / "a.bin"), "old");
  EXPECT_EQ(content_of(folder.path() / "a.bin.part"), "mine");
  EXPECT_EQ(missing.error().fault, ClientFault::not_found);
  EXPECT_EQ(nowhere.error().fault, ClientFault::usage);
  EXPECT_THAT(nowhere.error().message, HasSubstr("none: No such file or directory"));
  EXPECT_TRUE(replaced);
  EXPECT_THAT(names_in(folder.path()),
              UnorderedElementsAre("a.bin", "a.bin.part", "a-2.bin", "a-3.bin", "b.bin"));
}

TEST(Client, GivesAnOutputWithoutANameOne) {
  const TempFolder folder;
  PathServer server;
  server.answer("/a", http_answer("200 OK", "new"));
  Client client({.url = server.url(""), .key = "k", .repeats_max = 0});

  EXPECT_EQ(client.save({.url = server.url("/a")}, folder.path())->path, folder.path() / "output");
  EXPECT_EQ(client.save({.url = server.url("/a")}, folder.path())->path,
            folder.path() / "output-2");
  EXPECT_EQ(client.save({.url = server.url("/a"), .file_name = "../x"}, folder.path())->path,
            folder.path() / "x");
}

TEST(Client, SaysThatNobodyIsThere) {
  std::string url;
  {
    ScriptedServer server({});
    url = server.url();
  }
  Client client({.url = url,
                 .key = "k",
                 .repeats_max = 1,
                 .backoff_min = milliseconds{1},
                 .backoff_max = milliseconds{1}});

  const auto models = client.models();

  ASSERT_FALSE(models);
  EXPECT_EQ(models.error().fault, ClientFault::unreachable);
  EXPECT_EQ(models.error().http_status, 0);
}

// "http:///v1/models" would be a call to a host named v1, with the key.
TEST(Client, SendsNothingToAnAddressThatIsNone) {
  for (const char* url :
       {"", "http:", "http://", "http:///", "https://", "ftp://127.0.0.1", "file:///etc",
        "http://127.0.0.1:0", "http://127.0.0.1:99999", "http://127.0.0.1:", "http://127.0.0.1:80x",
        "http://:80", "http://[::1", "http://a b", "http://127.0.0.1/?a", "http://127.0.0.1#a",
        "http://a\nb"}) {
    Client client({.url = url, .key = "k", .repeats_max = 0});

    const auto models = client.models();

    ASSERT_FALSE(models) << url;
    EXPECT_EQ(models.error().fault, ClientFault::usage) << url << ": " << models.error().message;
    EXPECT_THAT(models.error().message, HasSubstr("expected http://host:port")) << url;
  }
}

TEST(Client, TakesAnAddressWithAPathOrWithoutAScheme) {
  ScriptedServer server(std::vector<std::string>(5, ScriptedServer::answer(200, R"({"data":[]})")));
  const std::string place = server.url().substr(7);

  for (const std::string& url :
       {server.url(), server.url() + "/", server.url() + "/below//", "HTTP://" + place, place})
    EXPECT_TRUE(Client({.url = url, .key = "k", .repeats_max = 0}).models()) << url;

  EXPECT_THAT(server.requests().at(2), StartsWith("GET /below/v1/models "));
}

TEST(Client, AsksNobodyTwiceWhoWasSilentForAWholeTimeout) {
  PathServer server;
  server.hang("/v1/models");
  Client client({.url = server.url(""),
                 .key = "k",
                 .request_timeout = milliseconds{200},
                 .repeats_max = 5,
                 .backoff_min = milliseconds{1}});

  const auto models = client.models();

  ASSERT_FALSE(models);
  EXPECT_EQ(models.error().fault, ClientFault::unreachable);
  EXPECT_THAT(server.request_heads(), SizeIs(1));
}

TEST(Client, StopsWaitingWhenTold) {
  ScriptedServer server({});
  std::stop_source stop;
  stop.request_stop();

  const auto status = make_client(server).status({"echo", "mmsu_1"}, false, std::chrono::seconds{0},
                                                 stop.get_token());

  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().fault, ClientFault::stopped);
}

TEST(Client, EndsAWaitWhenTheAnswerIsNoStatus) {
  for (const char* body : {"null", "[]", "<html></html>", R"({"status":"PAUSED"})", "{}", ""}) {
    ScriptedServer server({ScriptedServer::answer(200, body)});

    const auto result = make_client(server, 0).wait({"echo", "mmsu_1"});

    ASSERT_FALSE(result) << body;
    EXPECT_EQ(result.error().fault, ClientFault::refused) << body;
    EXPECT_THAT(result.error().message, HasSubstr("is this the address of a Quern?")) << body;
    EXPECT_EQ(result.error().http_status, 200) << body;
    EXPECT_EQ(result.error().detail, body);
  }
}

TEST(Client, TakesNothingWithoutOutputsForAResult) {
  for (const char* body : {"null", "[]", "<html></html>", R"({"outputs":{}})", "{}", ""}) {
    ScriptedServer server({ScriptedServer::answer(200, body)});

    const auto result = make_client(server, 0).result({"echo", "mmsu_1"});

    ASSERT_FALSE(result) << body;
    EXPECT_EQ(result.error().fault, ClientFault::refused) << body;
    EXPECT_THAT(result.error().message, HasSubstr("has no outputs")) << body;
    EXPECT_EQ(result.error().detail, body);
  }
  ScriptedServer server({ScriptedServer::answer(200, "{}"), ScriptedServer::answer(200, "{}")});
  Client client = make_client(server, 0);
  EXPECT_EQ(client.models().error().fault, ClientFault::refused);
  EXPECT_EQ(client.upload("/proc/self/exe").error().fault, ClientFault::refused);
}

// As deep as an input may be, inside of an answer.
TEST(Client, ReadsAResultAndAModelThatAreAsDeepAsTheirServerTakes) {
  std::string deep = "1";
  for (std::size_t i = 0; i < kJsonDepthMax; ++i) deep = R"({"a":)" + deep + "}";
  ScriptedServer server(
      {ScriptedServer::answer(200, R"({"request_id":"mmsu_1","outputs":[{"type":"text","text":"x",)"
                                   R"("metadata":)" +
                                       deep + R"(}],"metadata":)" + deep + "}"),
       ScriptedServer::answer(200, R"({"data":[{"id":"m","schema":)" + deep + "}]}")});
  Client client = make_client(server, 0);

  const auto result = client.result({"echo", "mmsu_1"});
  const auto models = client.models();

  ASSERT_TRUE(result) << result.error().message;
  EXPECT_THAT(result->outputs, SizeIs(1));
  EXPECT_EQ(result->metadata, deep);
  ASSERT_TRUE(models) << models.error().message;
  EXPECT_THAT(*models, SizeIs(1));
}

TEST(Client, SendsNoHeaderThatAKeyWouldBreak) {
  ScriptedServer server({});

  for (const char* bad : {"a\r\nX-Other: 1", "a\nb", "a b", "\x7f", "\xc3\xbc"}) {
    const auto task = make_client(server, 0).submit("echo", "{}", {.idempotency_key = bad});
    ASSERT_FALSE(task) << bad;
    EXPECT_EQ(task.error().fault, ClientFault::usage) << bad;
    EXPECT_THAT(task.error().message, HasSubstr("idempotency key")) << bad;
  }
  for (const char* bad : {"secret\r\nX-Other: 1", "secret\n", "a\tb", " a", "a ", "\xc3\xbc"}) {
    Client client({.url = server.url(), .key = bad, .repeats_max = 0});
    const auto models = client.models();
    ASSERT_FALSE(models) << bad;
    EXPECT_EQ(models.error().fault, ClientFault::usage) << bad;
    EXPECT_THAT(models.error().message, ::testing::AllOf(HasSubstr("key"), Not(HasSubstr(bad))));
    EXPECT_EQ(client.upload("/proc/self/exe").error().fault, ClientFault::usage) << bad;
  }
  EXPECT_THAT(server.requests(), SizeIs(0));
}

TEST(Client, UploadsNothingButRegularFiles) {
  const TempFolder folder;
  ASSERT_EQ(::mkfifo((folder.path() / "fifo").c_str(), 0600), 0);
  ScriptedServer server({});
  Client client = make_client(server, 0);

  for (const auto& path : {folder.path(), folder.path() / "none", folder.path() / "fifo"}) {
    const auto url = client.upload(path);
    ASSERT_FALSE(url) << path;
    EXPECT_EQ(url.error().fault, ClientFault::usage) << path;
    EXPECT_EQ(url.error().message, "cannot read " + path.string());
  }
  EXPECT_THAT(server.requests(), SizeIs(0));
}

TEST(Client, PutsAModelAndAnIdIntoAPathAsOneSegmentEach) {
  ScriptedServer server({ScriptedServer::answer(200, kCreated), ScriptedServer::answer(404, "{}"),
                         ScriptedServer::answer(404, "{}"),
                         ScriptedServer::answer(200, R"({"data":[],"next_after":"b&c"})"),
                         ScriptedServer::answer(200, R"({"data":[]})")});
  Client client = make_client(server, 0);

  EXPECT_TRUE(client.submit("e%63ho", "{}"));
  EXPECT_FALSE(client.status({"a?b", "../../x#"}));
  EXPECT_FALSE(client.cancel({"..", "."}));
  EXPECT_TRUE(client.models());

  const auto requests = server.requests();
  ASSERT_THAT(requests, SizeIs(5));
  EXPECT_THAT(requests[0], StartsWith("POST /v1/queue/e%2563ho HTTP/1.1\r\n"));
  EXPECT_THAT(requests[1],
              StartsWith("GET /v1/queue/a%3Fb/requests/..%2F..%2Fx%23/status?logs=0 HTTP/1.1"));
  EXPECT_THAT(requests[2], StartsWith("PUT /v1/queue/%2E%2E/requests/%2E/cancel HTTP/1.1\r\n"));
  EXPECT_THAT(requests[4], StartsWith("GET /v1/models?after=b%26c HTTP/1.1\r\n"));
}

TEST(Client, GivesOutputsNamesThatAreSafeForLocalFiles) {
  ScriptedServer server({ScriptedServer::answer(
      200,
      R"({"outputs":[{"file_name":"\u001b[2Ja\n.png"},{"file_name":"../../.profile"},{"file_name":"a b.png"},{}]})")});

  const auto result = make_client(server, 0).result({"echo", "mmsu_1"});

  ASSERT_TRUE(result) << result.error().message;
  ASSERT_THAT(result->outputs, SizeIs(4));
  EXPECT_EQ(result->outputs[0].file_name, "_[2Ja_.png");
  EXPECT_EQ(result->outputs[1].file_name, "_profile");
  EXPECT_EQ(result->outputs[2].file_name, "a b.png");
  EXPECT_EQ(result->outputs[3].file_name, "");
}

TEST(Client, TakesTheNearestCountForANumberThatIsNone) {
  ScriptedServer server({
      ScriptedServer::answer(200, R"({"status":"IN_QUEUE","queue_position":1e30})"),
      ScriptedServer::answer(
          200,
          R"({"outputs":[{"file_size":18446744073709551616,"width":1e30,"height":4294967296},{"file_size":-1e30,"width":-1,"height":2.9}]})"),
  });
  Client client = make_client(server, 0);

  const auto status = client.status({"echo", "mmsu_1"});
  const auto result = client.result({"echo", "mmsu_1"});

  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(status->queue_position, 18'446'744'073'709'551'615U);
  ASSERT_TRUE(result) << result.error().message;
  ASSERT_THAT(result->outputs, SizeIs(2));
  EXPECT_EQ(result->outputs[0].file_size, 18'446'744'073'709'551'615U);
  EXPECT_EQ(result->outputs[0].width, 4'294'967'295U);
  EXPECT_EQ(result->outputs[0].height, 4'294'967'295U);
  EXPECT_EQ(result->outputs[1].file_size, 0U);
  EXPECT_EQ(result->outputs[1].width, 0U);
  EXPECT_EQ(result->outputs[1].height, 2U);
}

TEST(Client, CutsALongRetryAfterToAMinute) {
  const auto wait_of = [](const std::string& header) {
    ScriptedServer server({ScriptedServer::answer(503, "{}", header)});
    return make_client(server, 0).submit("echo", "{}").error().retry_after;
  };

  EXPECT_EQ(wait_of("Retry-After: 7\r\n"), std::chrono::seconds{7});
  EXPECT_EQ(wait_of("Retry-After: 86400\r\n"), std::chrono::seconds{60});
  EXPECT_EQ(wait_of("Retry-After: 99999999999999999999\r\n"), std::chrono::seconds{60});
  EXPECT_EQ(wait_of("Retry-After: -1\r\n"), std::chrono::seconds{0});
}

TEST(Client, ReadsEveryPageOfTheModels) {
  ScriptedServer server(
      {ScriptedServer::answer(200, R"({"data":[{"id":"a"},{"id":"b"}],"next_after":"b"})"),
       ScriptedServer::answer(503, R"({"detail":"Service unavailable"})"),
       ScriptedServer::answer(200, R"({"data":[{"id":"c"}],"has_more":false})")});

  const auto models = make_client(server).models();

  ASSERT_TRUE(models) << models.error().message;
  ASSERT_THAT(*models, SizeIs(3));
  EXPECT_EQ((*models)[0].id, "a");
  EXPECT_EQ((*models)[2].id, "c");
  EXPECT_EQ((*models)[2].body, R"({"id":"c"})");
  EXPECT_THAT(server.requests()[0], StartsWith("GET /v1/models HTTP/1.1\r\n"));
  EXPECT_THAT(server.requests()[2], StartsWith("GET /v1/models?after=b HTTP/1.1\r\n"));
}

}  // namespace
}  // namespace quern
