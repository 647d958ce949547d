#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "testing/certificate.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
namespace fs = std::filesystem;

class Config : public ::testing::Test {
 protected:
  Result<Settings> load(const std::string& text) {
    std::ofstream(folder_.path() / "quern.toml") << text;
    return load_settings(folder_.path() / "quern.toml");
  }
  std::string fault(const std::string& text) {
    Result<Settings> settings = load(text);
    return settings ? "accepted" : settings.error().message;
  }

  TempFolder folder_;
};

TEST_F(Config, ReadsEverySectionWithItsUnits) {
  fs::create_directories(folder_.path() / "speech");
  std::ofstream(folder_.path() / "speech/schema.json") << R"({"title":"Say it","type":"object"})";
  write_certificate({.cert = folder_.path() / "c.pem", .key = folder_.path() / "k.pem"});

  const auto settings = load(R"(
[server]
listen = "[::1]:0"
public_url = "https://q.example/"
body_max = "2MiB"
idle_timeout = "5s"
trusted_proxies = ["10.0.0.0/8", "::1"]
tls = { cert = "c.pem", key = "k.pem" }
[store]
url = "sqlite:store"
[retention]
results = "7d"
[[key]]
id = "demo"
secret = ["plain-secret", "sha256:0000000000000000000000000000000000000000000000000000000000000000"]
rate = "30/m"
models = ["sp*"]
[[model]]
id = "speech"
executor = { kind = "process", command = ["./speech"], dir = "speech", env = { A = "b" } }
schema = "speech/schema.json"
concurrency = 2
timeout = "60s"
aliases = ["acme/speech"]
)");

  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->http.listen, "[::1]:0");
  EXPECT_EQ(settings->public_url, "https://q.example");
  EXPECT_EQ(settings->body_bytes_max, 2U << 20U);
  EXPECT_EQ(settings->http.idle_timeout, milliseconds{5000});
  EXPECT_EQ(settings->http.tls->cert, folder_.path() / "c.pem");
  EXPECT_EQ(settings->data, folder_.path() / "store");
  EXPECT_EQ(settings->results_ttl, std::chrono::days{7});
  ASSERT_THAT(settings->keys, SizeIs(1));
  EXPECT_THAT(settings->keys[0].secrets, SizeIs(2));
  EXPECT_DOUBLE_EQ(settings->keys[0].rate, 0.5);
  EXPECT_DOUBLE_EQ(settings->keys[0].burst, 1);
  ASSERT_THAT(settings->models, SizeIs(1));
  EXPECT_EQ(settings->models[0].title, "Say it");
  EXPECT_EQ(settings->models[0].executor.dir, folder_.path() / "speech");
  EXPECT_EQ(settings->models[0].executor.env.at("A"), "b");
  EXPECT_THAT(settings->warnings, SizeIs(1));
  EXPECT_THAT(settings->warnings[0], HasSubstr("quern.toml:15: key demo"));
}

TEST_F(Config, CompilesASchemaOnceForAllModelsThatNameItsFile) {
  fs::create_directories(folder_.path() / "speech");
  std::ofstream(folder_.path() / "speech/schema.json") << R"({"title":"Say it","type":"object"})";
  std::ofstream(folder_.path() / "other.json") << R"({"type":"object"})";

  const auto settings = load(R"(
[[model]]
id = "one"
executor = { kind = "echo" }
schema = "speech/schema.json"
[[model]]
id = "two"
title = "Its own"
executor = { kind = "echo" }
schema = "./speech/../speech/schema.json"
[[model]]
id = "three"
executor = { kind = "echo" }
schema = "other.json"
)");

  ASSERT_TRUE(settings) << settings.error().message;
  ASSERT_THAT(settings->models, SizeIs(3));
  EXPECT_NE(settings->models[0].schema, nullptr);
  EXPECT_EQ(settings->models[0].schema, settings->models[1].schema);
  EXPECT_NE(settings->models[0].schema, settings->models[2].schema);
  EXPECT_EQ(settings->models[0].title, "Say it");
  EXPECT_EQ(settings->models[1].title, "Its own");
}

TEST_F(Config, HasDefaultsForEverything) {
  const auto settings = load("");

  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->http.listen, "127.0.0.1:8080");
  EXPECT_EQ(settings->data, folder_.path() / "data");
  EXPECT_THAT(settings->keys, IsEmpty());
}

TEST_F(Config, NamesFileLineAndWhatWasExpected) {
  ASSERT_EQ(::mkfifo((folder_.path() / "fifo").c_str(), 0600), 0);
  std::ofstream(folder_.path() / "long.toml") << std::string((4 << 20) + 1, '#');
  const std::pair<const char*, const char*> cases[] = {
      {"[server]\nlisten = 8080", "quern.toml:2: [server] listen: expected \"host:port\""},
      {"[server]\nlisten = \"127.0.0.1:99999\"",
       "quern.toml:2: [server] listen: expected host:port or [host]:port"},
      {"[server]\nlisten = \"::1:80\"",
       "quern.toml:2: [server] listen: expected host:port or [host]:port"},
      {"[server]\npublic_url = \"http://x/?a#b\"",
       "quern.toml:2: [server] public_url: expected http(s)://host[:port][/path], got \"http://x/"},
      {"[server]\npublic_url = \"queue.example\"",
       "quern.toml:2: [server] public_url: expected http(s)://host[:port][/path]"},
      {"[server]\npublic_url = 1", "quern.toml:2: [server] public_url: expected a string"},
      {"[server]\ntrusted_proxies = [\"10.0.0.1\", \"nonsense\"]",
       "quern.toml:2: [server] trusted_proxies: expected an address or a block such as 10.0.0.0/8, "
       "got \"nonsense\""},
      {"[server]\n\ntls = { cert = \"none.pem\", key = \"none.pem\" }",
       "quern.toml:3: [server] tls: TLS certificate "},
      {"[server]\nbody_max = \"ten\"", "quern.toml:2: [server] body_max: "},
      {"[server]\nbody_max = \"257MiB\"", "quern.toml:2: [server] body_max: "},
      {"[server]\nidle_timeout = 5",
       "quern.toml:2: [server] idle_timeout: expected a duration such as \"60s\""},
      {"[server]\nthreads = -1",
       "quern.toml:2: [server] threads: expected a whole number from 0 to 256"},
      {"[server]\nwhat = 1", "quern.toml:2: [server] what: unknown key"},
      {"[server]\ntls = { cert = \"a\" }", "quern.toml:2: [server] tls: expected { cert"},
      {"[server]\ncors_origins = [\"https://ok.example\", \"https://app.example/\"]",
       "quern.toml:2: [server] cors_origins: expected \"*\" or an origin as browsers send it, "
       "scheme://host[:port] in lower case, without a path, a slash at the end or the scheme's own "
       "port, got \"https://app.example/\""},
      {"server = 5", "quern.toml:1: server: expected a table headed [server]"},
      {"[[server]]\nlisten = \"x\"", "quern.toml:1: server: expected a table headed [server]"},
      {"\nstore = \"sqlite:data\"", "quern.toml:2: store: expected a table headed [store]"},
      {"[store]\nurl = \"postgres://x\"",
       "quern.toml:2: [store] url: expected \"sqlite:<folder>\""},
      {"what = 1", "quern.toml:1: what: unknown section"},
      {"[[key]]\nsecret = \"abcdefgh\"", "quern.toml:1: [[key]]: id is missing"},
      {"[[key]]\nid = \"a\"", "quern.toml:1: [[key]] a: secret is missing"},
      {"[[key]]\nid = \"a\"\nsecret = \"env:\"",
       "quern.toml:3: [[key]] secret: expected the name of an environment variable behind "
       "\"env:\""},
      {"[[key]]\nid = \"a\"\nsecret = \"sha256:12\"", "quern.toml:3: [[key]] secret: "},
      {"[[key]]\nid = \"a\"\nsecret = \"s\"\nrate = \"fast\"", "quern.toml:4: [[key]] rate: "},
      {"[[key]]\nid = \"a\"\nsecret = \"s\"\n[[key]]\nid = \"a\"\nsecret = \"t\"",
       "quern.toml:4: two keys have the id \"a\""},
      {"[[model]]\ntitle = \"A\"\nexecutor = { kind = \"echo\" }",
       "quern.toml:1: [[model]]: id is missing"},
      {"[[model]]\nid = \"a\"\nexecutor = { kind = \"echo\" }\nbackoff_min = \"2m\"",
       "quern.toml:4: [[model]] a: backoff_min, 2m, is over backoff_max, 1m: change one of them"},
      {"[[model]]\nid = \"a\"\nexecutor = { kind = \"echo\" }\nbackoff_max = \"1ms\"",
       "quern.toml:4: [[model]] a: backoff_min, 1s, is over backoff_max, 1ms: change one of them"},
      {"[[model]]\nid = \"a b\"\nexecutor = { kind = \"echo\" }", "id: expected letters"},
      {"[[model]]\nid = \"a\"", "quern.toml:1: [[model]] a: executor is missing"},
      {"[[model]]\nid = \"a\"\nexecutor = { kind = \"magic\" }",
       "kind: expected \"process\" or \"echo\""},
      {"[[model]]\nid = \"a\"\nexecutor = { kind = \"process\" }", "command is missing"},
      {"[[model]]\nid = \"a\"\nexecutor = { kind = \"process\", command = [\"x\"], dir = \"none\" "
       "}",
       "there is no folder"},
      {"[[model]]\nid = \"a\"\nexecutor = { kind = \"process\", command = [\"x\"], env = { TMPDIR "
       "= "
       "\"/scratch\" } }",
       "quern.toml:3: [[model]] a executor env: TMPDIR is each attempt's own folder"},
      {"[[model]]\nid = \"a\"\nexecutor = { kind = \"process\", command = [\"x\", \"a\\u0000b\"] }",
       "[[model]] a executor command: expected texts without a zero character"},
      {"[[model]]\nid = \"a\"\nexecutor = { kind = \"process\", command = [\"x\"], env = { \"\" = "
       "\"b\" } }",
       "[[model]] a executor env: expected names that are not empty"},
      {"[[model]]\nid = \"a\"\nexecutor = { kind = \"process\", command = [\"x\"], env = { \"A=B\" "
       "= \"b\" } }",
       "[[model]] a executor env: expected names that are not empty"},
      {"[[model]]\nid = \"a\"\nexecutor = { kind = \"process\", command = [\"x\"], env = { "
       "\"A\\u0000\" = \"b\" } }",
       "[[model]] a executor env: expected names that are not empty"},
      {"[[model]]\nid = \"a\"\nexecutor = { kind = \"process\", command = [\"x\"], env = { A = "
       "\"\\u0000\" } }",
       "[[model]] a executor env: A: a zero character cannot be given"},
      {"[[model]]\nid = \"a\"\nexecutor = { kind = \"echo\", command = [\"x\"] }",
       "quern.toml:3: [[model]] a executor command: has no effect with kind \"echo\""},
      {"[[model]]\nid = \"a\"\nexecutor = { kind = \"echo\", env = {} }",
       "quern.toml:3: [[model]] a executor env: has no effect with kind \"echo\""},
      {"[[model]]\nid = \"a\"\nexecutor = { kind = \"echo\" }\nschema = \"none.json\"",
       "quern.toml:4: [[model]] a schema: "},
      {"\ninclude = [\"none.toml\"]", "quern.toml:2: include: "},
      {"include = [\"none.toml\"]", "none.toml: cannot be read"},
      {"include = [\".\"]", "quern.toml:1: include: "},
      {"include = [\"/dev/zero\"]", "quern.toml:1: include: /dev/zero: is no regular file"},
      {"\ninclude = [\"fifo\"]", "quern.toml:2: include: "},
      {"include = [\"fifo\"]", "fifo: is no regular file"},
      {"include = [\"long.toml\"]", "long.toml: is over 4 MiB"},
      {"[[model]]\nid = \"a\"\nexecutor = { kind = \"echo\" }\nschema = \"fifo\"",
       "quern.toml:4: [[model]] a schema: "},
      {"[[model]]\nid = \"a\"\nexecutor = { kind = \"echo\" }\nschema = \"fifo\"",
       "fifo: is no regular file"},
      {"[[model]]\nid = \"a\"\nexecutor = { kind = \"echo\" }\nschema = \"long.toml\"",
       "long.toml: is over 1 MiB"},
      {"include = [\"quern.toml\"]", "files include each other too deeply"},
      {"[server\n", "quern.toml:1"},
  };
  for (const auto& [text, expected] : cases) {
    const std::string message = fault(text);
    EXPECT_NE(message, "accepted") << text;
    EXPECT_THAT(message, HasSubstr(expected)) << text;
  }
}

// Each part of a key is a table in a table, which the parser ends by a recursion as deep.
TEST_F(Config, RefusesAKeyOfManyPartsBeforeItIsParsed) {
  const auto parts = [](std::string_view part, int count) {
    std::string key(part);
    for (int i = 1; i < count; ++i) key.append(".").append(part);
    return key;
  };
  const std::string said = "quern.toml:3: a key has more than 16 parts";

  for (const char* part : {"a", " a\t", R"("a.#\"")", R"('a.#\')", "1"}) {
    const std::string key = parts(part, 50'000);
    EXPECT_THAT(fault("# a\n\n" + key + " = 1"), HasSubstr(said)) << part;
    EXPECT_THAT(fault("\n\n[" + key + "]\n"), HasSubstr(said)) << part;
    EXPECT_THAT(fault("\n\n[[" + key + "]]\n"), HasSubstr(said)) << part;
    EXPECT_THAT(fault("\r\n\r\nx = { a = 1, " + key + " = 1 }"), HasSubstr(said)) << part;
  }
  for (const char* text : {R"("a\"")", R"("a\\")", R"('a\')", R"("""a\"""")", R"("""""a\\""""")",
                           R"('''''a\''''')", R"("")", R"('')", "1.5 # '"}) {
    const std::string before = "x = " + std::string(text) + "\n\n";
    EXPECT_THAT(fault(before + parts("a", 17) + " = 1"), HasSubstr(said)) << text;
  }
  EXPECT_THAT(fault(parts("a", 16) + " = 1"), HasSubstr("quern.toml:1: a: unknown section"));
}

TEST_F(Config, TakesAnyNumberOfDotsInTextsAndComments) {
  std::string words = "a";
  for (int i = 0; i < 100; ++i) words += ".b";

  EXPECT_EQ(fault("# " + words + "\n[[model]] # " + words +
                  "\nid = \"m\"\nexecutor = { kind = \"echo\" }\ntitle = '" + words +
                  "'\ndescription = \"\"\"\n# \"" + words + "\"\n\"\"\"\naliases = [\"x/" + words +
                  "\"]\n"),
            "accepted");
}

TEST_F(Config, TakesTheDeepestNestingThatItDoesNotRefuse) {
  constexpr int kValues = 250;  // the parser takes 256 in each other
  std::string text = "a";
  for (int i = 0; i < kValues; ++i) text += "= {a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a";
  text += "= 1" + std::string(kValues, '}');

  EXPECT_THAT(fault(text), HasSubstr("quern.toml:1: a: unknown section"));
}

TEST_F(Config, DoesNotWaitAtAFifo) {
  ASSERT_EQ(::mkfifo((folder_.path() / "quern.toml").c_str(), 0600), 0);

  const auto settings = load_settings(folder_.path() / "quern.toml");

  ASSERT_FALSE(settings);
  EXPECT_THAT(settings.error().message, HasSubstr("quern.toml: is no regular file"));
}

TEST_F(Config, NamesTheFirstEntryThatDoesNotGoWithTheOthers) {
  const auto model = [](const std::string& id, const std::string& alias) {
    return "[[model]]\nid = \"" + id + "\"\nexecutor = { kind = \"echo\" }\naliases = [\"" + alias +
           "\"]\n";
  };
  EXPECT_THAT(fault(model("a", "x/a") + model("b", "x/b") + model("c", "x/a") + model("d", "x/d")),
              HasSubstr("quern.toml:9: model \"c\": the alias \"x/a\""));
  EXPECT_THAT(fault(model("a", "x/a") + model("b", "x/b") + model("a", "x/c")),
              HasSubstr("quern.toml:9: two models have the id \"a\""));
  EXPECT_THAT(fault(model("a", "not an alias") + model("b", "x/b")),
              HasSubstr("quern.toml:1: model \"a\": the alias"));
}

TEST_F(Config, RefusesAKeyWithALongId) {
  const auto key = [](std::size_t bytes) {
    return "[[key]]\nid = \"" + std::string(bytes, 'k') + "\"\nsecret = \"env:HOME\"\n";
  };
  EXPECT_EQ(fault(key(128)), "accepted");
  EXPECT_EQ(fault("\n" + key(129)),
            "quern.toml:2: [[key]]: id: expected at most 128 bytes, got 129");
}

TEST_F(Config, TakesSecretsFromTheEnvironmentWithoutAWarning) {
  ASSERT_EQ(::setenv("QUERN_CONFIG_TEST_KEY", "from-the-environment", 1), 0);

  const auto settings = load("[[key]]\nid = \"a\"\nsecret = \"env:QUERN_CONFIG_TEST_KEY\"\n");

  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->keys[0].secrets.at(0), sha256("from-the-environment"));
  EXPECT_THAT(settings->warnings, IsEmpty());
}

TEST_F(Config, ReadsIncludedFilesRelativeToThemselves) {
  fs::create_directories(folder_.path() / "more/run");
  std::ofstream(folder_.path() / "more/models.toml")
      << "[[model]]\nid = \"m\"\nexecutor = { kind = \"process\", command = [\"./x\"], dir = "
         "\"run\" }\n";

  const auto settings = load("include = [\"more/models.toml\"]\n");

  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->models.at(0).executor.dir, folder_.path() / "more/run");
}

TEST_F(Config, NeverPrintsASecret) {
  EXPECT_THAT(fault("[[key]]\nid = \"a\"\nsecret = [\"top-secret\", \"\"]"),
              ::testing::Not(HasSubstr("top-secret")));
}

TEST(ConfigReference, StandsInTheOperatorsPage) {
  std::ifstream page(QUERN_SOURCE "/docs/OPERATING.md");
  std::ostringstream text;
  text << page.rdbuf();

  EXPECT_THAT(text.str(), HasSubstr(settings_reference()))
      << "docs/OPERATING.md must hold this, as `quern serve --settings` prints it:\n"
      << settings_reference();
}

}  // namespace
}  // namespace quern
