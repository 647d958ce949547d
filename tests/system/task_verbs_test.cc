// `quern run`, `submit`, `status`, `result` and `cancel`, as a person types them.

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/system/cli_fixture.h"

namespace quern {
namespace {

using ::testing::HasSubstr;

/// A file and a text.
constexpr const char* kMakes =
    "out=$(sed 's/.*\"output_dir\":\"\\([^\"]*\\)\".*/\\1/')\n"
    "printf words > \"$out/a.txt\"\n"
    "echo '{\"output\":{\"type\":\"file\",\"path\":\"a.txt\"}}'\n"
    "echo '{\"output\":{\"type\":\"text\",\"text\":\"said\"}}'\n";

class TaskVerbsTest : public CliTest {
 protected:
  void serve_models() {
    serve(config(process_model("makes", kMakes) + process_model("wait", kWaitForGo) +
                 process_model("broken", "exit 7\n", "attempts = 1")));
  }
  /// The id that `quern submit` prints.
  [[nodiscard]] std::string submit(const std::string& model) const {
    const Said said = quern("submit " + model);
    EXPECT_EQ(said.code, 0) << said.text;
    return said.text.substr(0, said.text.find('\n'));
  }
  [[nodiscard]] std::string out() const { return (folder_.path() / "out").string(); }
  [[nodiscard]] std::string saved() const {
    std::ifstream file(folder_.path() / "out" / "a.txt");
    return {std::istreambuf_iterator<char>(file), {}};
  }
};

TEST_F(TaskVerbsTest, RunsATaskAndSavesItsFiles) {
  serve_models();

  const Said said = quern("run makes --out " + out());

  EXPECT_EQ(said.code, 0) << said.text;
  EXPECT_THAT(said.text, HasSubstr("said\n"));
  EXPECT_EQ(saved(), "words");
}

TEST_F(TaskVerbsTest, ShowsAResultAndSavesItOnlyWhereItIsAskedTo) {
  serve_models();
  const std::string id = submit("makes");

  const Said shown = quern("result " + id + " --wait");
  EXPECT_EQ(shown.code, 0) << shown.text;
  EXPECT_THAT(shown.text, HasSubstr(R"("file_name":"a.txt")"));
  EXPECT_FALSE(std::filesystem::exists(out()));
  EXPECT_THAT(quern("status " + id).text, HasSubstr("COMPLETED"));

  EXPECT_EQ(quern("result " + id + " --out " + out()).code, 0);
  EXPECT_EQ(saved(), "words");
}

TEST_F(TaskVerbsTest, TellsByItsCodeHowATaskEnded) {
  serve_models();
  const std::string canceled = submit("wait");

  const Said said = quern("cancel " + canceled);

  EXPECT_EQ(said.code, 0);
  EXPECT_THAT(said.text, HasSubstr("CANCELLATION_REQUESTED"));
  const Said result = quern("result " + canceled + " --wait --quiet");
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.text, HasSubstr("Task canceled"));
  EXPECT_EQ(quern("run broken").code, 1);
  EXPECT_EQ(quern("run nothing").code, 3);
}

TEST_F(TaskVerbsTest, MakesNoTaskForAFolderWithoutAName) {
  serve_models();

  EXPECT_EQ(quern("run makes --out ''").code, 2);
  EXPECT_EQ(quern("result mmsu_01arz3ndektsv4rrffq69g5fav --out ''").code, 2);

  EXPECT_EQ(quern_json("admin list").at("tasks").get_array().size(), 0U);
}

}  // namespace
}  // namespace quern
