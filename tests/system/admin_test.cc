// `quern admin` and `quern status --attempts`, as a person types them.

#include <gmock/gmock.h>

#include <fstream>

#include "tests/system/cli_fixture.h"
#include "tests/system/task_history.h"

namespace quern {
namespace {

using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class AdminTest : public CliTest {
 protected:
  // An echo model that is paused, so that its tasks wait.
  void serve_paused(const std::string& more = "") {
    serve(config(more));
    ASSERT_EQ(quern("admin pause echo").code, 0);
  }
  std::string submit(const char* secret, const std::string& model = "echo") {
    const auto task = client(secret).submit(model, "{}");
    EXPECT_TRUE(task) << task.error().message;
    return task ? task->request_id : "";
  }
  std::string fail_one() {
    Client caller = client();
    const auto task = caller.submit("broken", "{}");
    EXPECT_TRUE(task);
    EXPECT_FALSE(caller.wait(*task));
    return task->request_id;
  }
  std::string broken_model() {
    return process_model("broken", "cat >/dev/null\necho 'out of paint' >&2\nexit 7\n",
                         "attempts = 2\nbackoff_min = \"1ms\"\nbackoff_max = \"1ms\"");
  }
};

TEST_F(AdminTest, LogsWhatWasDoneWithItsOutcomeAndNothingThatWasRefused) {
  serve_paused(broken_model());
  const std::string queued = submit(kSecret);
  const std::string failed = fail_one();
  const Said refused = quern("admin retry " + queued);
  EXPECT_NE(refused.code, 0);
  EXPECT_THAT(refused.text, HasSubstr("The task has not ended yet"));
  EXPECT_EQ(quern("admin retry " + failed).code, 0);
  EXPECT_EQ(quern("admin cancel --model echo").code, 0);

  const std::string log = server_->log();
  EXPECT_THAT(log, HasSubstr(R"("act":"pause","on":"echo","outcome":"paused")"));
  EXPECT_THAT(log, HasSubstr(R"("act":"retry","on":")" + failed + R"(","outcome":"queued")"));
  EXPECT_THAT(log, Not(HasSubstr(R"("act":"retry","on":")" + queued)));
  EXPECT_THAT(log, HasSubstr(R"("act":"cancel","on":"{\"model\":\"echo\")"));
  EXPECT_THAT(log, HasSubstr(R"("outcome":"{\"cancellation_requested\":1,)"));
}

TEST_F(AdminTest, ListsTasksByKeyModelStateAndAge) {
  serve_paused(broken_model());
  const std::string mine = submit(kSecret);
  const std::string theirs = submit(kOtherSecret);
  const std::string failed = fail_one();

  const Said all = quern("admin list");
  EXPECT_EQ(all.code, 0);
  EXPECT_THAT(all.text, AllOf(HasSubstr("REQUEST"), HasSubstr(mine), HasSubstr(theirs),
                              HasSubstr(failed), HasSubstr("INFERENCE_FAILURE")));
  EXPECT_THAT(quern("admin list --owner two").text, AllOf(HasSubstr(theirs), Not(HasSubstr(mine))));
  EXPECT_THAT(quern("admin list --model broken").text,
              AllOf(HasSubstr(failed), Not(HasSubstr(mine))));
  EXPECT_THAT(quern("admin list --state queued,running").text,
              AllOf(HasSubstr(mine), Not(HasSubstr(failed))));
  EXPECT_THAT(quern("admin list --age 1h").text, HasSubstr("no tasks"));
  EXPECT_EQ(quern("admin list --age soon").code, 2);
  EXPECT_EQ(quern("admin list --state lost").code, 3);
}

TEST_F(AdminTest, ListsMoreThanAPageAndGoesOnWhereAListEnded) {
  serve_paused();
  Client caller = client();
  for (int i = 0; i < 1'050; ++i) ASSERT_TRUE(caller.submit("echo", "{}"));

  const json::object whole = quern_json("admin list --limit 2000");
  EXPECT_EQ(whole.at("tasks").get_array().size(), 1'050U);
  EXPECT_EQ(whole.at("has_more"), json::value(false));

  const json::object begun = quern_json("admin list --limit 1020");
  EXPECT_EQ(begun.at("tasks").get_array().size(), 1'020U);
  const std::string before(begun.at("next_before").get_string());
  const json::object rest = quern_json("admin list --before " + before);
  EXPECT_EQ(rest.at("tasks").get_array().size(), 30U);
}

TEST_F(AdminTest, ShowsATaskWithItsAttemptsAndLogs) {
  serve(config(broken_model()));
  const std::string id = fail_one();

  const Said shown = quern("admin show " + id);

  EXPECT_EQ(shown.code, 0);
  EXPECT_THAT(shown.text, AllOf(HasSubstr("RESULT"), HasSubstr("exit 7"), HasSubstr("out of paint"),
                                HasSubstr("attempt 2 started")));
  EXPECT_EQ(quern_json("admin show " + id).at("attempts").get_array().size(), 2U);
}

TEST_F(AdminTest, ShowsEachAttemptInTheStatus) {
  serve(config(broken_model()));
  const std::string id = fail_one();

  const Said shown = quern("status " + id + " --model broken --attempts");

  EXPECT_EQ(shown.code, 1);
  EXPECT_THAT(shown.text,
              AllOf(HasSubstr("attempt 1 started"), HasSubstr("attempt 1 failed: exit 7"),
                    HasSubstr("queued again, not before"), HasSubstr("attempt 2 started"),
                    HasSubstr("attempt 2 failed: exit 7")));
  EXPECT_THAT(shown.text, Not(HasSubstr("out of paint")));
  EXPECT_THAT(quern("status " + id + " --model broken --logs").text, HasSubstr("out of paint"));
}

// What is left of the attempt before may still be there when a retry begins.
TEST_F(AdminTest, RetriesATaskInAFolderThatNoAttemptHadBefore) {
  serve(config(process_model("where", "cat >/dev/null\necho \"$TMPDIR\" >>places\nexit 7\n",
                             "attempts = 1")));
  Client caller = client();
  const auto task = caller.submit("where", "{}");
  ASSERT_TRUE(task) << task.error().message;
  EXPECT_FALSE(caller.wait(*task));

  ASSERT_EQ(quern("admin retry " + task->request_id).code, 0);
  EXPECT_FALSE(caller.wait(*task));

  std::ifstream file(folder_.path() / "where" / "places");
  std::string first;
  std::string second;
  ASSERT_TRUE(std::getline(file, first) && std::getline(file, second));
  EXPECT_NE(first, second);
}

TEST_F(AdminTest, RetriesAFailedTaskAndPurgesAnEndedOne) {
  serve(config(broken_model()));
  const std::string id = fail_one();

  EXPECT_EQ(quern_json("admin retry " + id).at("state"), json::value("queued"));
  EXPECT_FALSE(client().wait({"broken", id, 0}));
  Client admin = client();
  EXPECT_EQ(look_up(admin, id).attempts.size(), 4U);

  EXPECT_EQ(quern("admin purge " + id).code, 0);
  EXPECT_EQ(look_up(admin, id).state, "");
  const Said gone = quern("admin show " + id);
  EXPECT_EQ(gone.code, 3);
  EXPECT_THAT(gone.text, HasSubstr("Request not found"));
}

TEST_F(AdminTest, PausesAndResumesAModel) {
  serve_paused();
  const std::string id = submit(kSecret);

  EXPECT_EQ(client().status({"echo", id, 0})->status, TaskStatus::in_queue);
  EXPECT_EQ(quern_json("admin resume echo").at("paused"), json::value(false));

  EXPECT_TRUE(client().wait({"echo", id, 0}));
  EXPECT_EQ(quern("admin pause nothing").code, 3);
}

TEST_F(AdminTest, CancelsMoreThanAPageByFilterAndSparesTheRest) {
  serve_paused();
  Client caller = client();
  for (int i = 0; i < 1'050; ++i) ASSERT_TRUE(caller.submit("echo", "{}"));
  const std::string spared = submit(kOtherSecret);

  EXPECT_EQ(quern("admin cancel").code, 2);
  for (const char* filter : {"--owner", "--model", "--age", "--state"})
    EXPECT_EQ(quern(std::string("admin cancel --all ") + filter + " ''").code, 2) << filter;
  const json::object done = quern_json("admin cancel --owner one");

  EXPECT_EQ(done.at("cancellation_requested"), json::value(1'050));
  EXPECT_EQ(quern_json("admin list --state queued").at("tasks").get_array().size(), 1U);
  EXPECT_EQ(look_up(caller, spared).state, "queued");
  EXPECT_EQ(quern_json("admin cancel --all").at("cancellation_requested"), json::value(1));
}

TEST_F(AdminTest, IsNotThereForOtherKeys) {
  serve(config());

  const Said refused = quern("admin list", kOtherSecret);

  EXPECT_EQ(refused.code, 3);
  EXPECT_THAT(refused.text, HasSubstr("admin = true"));
}

}  // namespace
}  // namespace quern
