// Who is served when, counted in tasks and not in seconds: a runner writes down whose turn it is.

#include <chrono>
#include <string>
#include <vector>

#include "testing/eventually.h"
#include "tests/system/system_fixture.h"

namespace quern {
namespace {

using std::chrono::seconds;

class FairnessTest : public SystemTest {
 protected:
  // One slot; the order of the tasks is the order of the lines in `turns`.
  std::string taking_turns() {
    return process_model("turns",
                         "line=$(cat)\n"
                         "printf '%s\\n' \"$line\" | sed 's/.*\"who\":\"\\([^\"]*\\)\".*/\\1/' "
                         ">>turns\n");
  }

  /// One that may run one task at a time; its name is its secret.
  static std::string limited_key(const std::string& name, const std::string& more) {
    return "[[key]]\nid = \"" + name + "\"\nsecret = \"" + name +
           "\"\nrate = \"100000/s\"\nrunning_max = 1\n" + more + "\n";
  }

  std::vector<std::string> turns() const {
    std::ifstream file(folder_.path() / "turns" / "turns");
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  }

  static TaskHandle submit(Client& caller, const std::string& who) {
    const auto task = caller.submit("turns", R"({"who":")" + who + R"("})");
    EXPECT_TRUE(task) << task.error().message;
    return task.value_or(TaskHandle{});
  }

  static void set_paused(Client& admin, bool paused) {
    const auto done =
        admin.call("POST", std::string("/admin/models/turns/") + (paused ? "pause" : "resume"));
    ASSERT_TRUE(done) << done.error().message;
  }

  static std::ptrdiff_t turn_of(const std::vector<std::string>& turns, const std::string& who) {
    return std::ranges::find(turns, who) - turns.begin();
  }
};

TEST_F(FairnessTest, ServesTheFewTasksOfOneKeyInTurnWithTheManyOfAnother) {
  serve(config(taking_turns()));
  Client many = client();
  Client few = client(kOtherSecret);
  set_paused(many, true);
  for (int i = 0; i < 300; ++i) submit(many, "a" + std::to_string(i));
  std::vector<TaskHandle> tasks;
  for (int i = 0; i < 3; ++i) tasks.push_back(submit(few, "b" + std::to_string(i)));
  EXPECT_EQ(few.status(tasks[0])->queue_position, 1U);
  EXPECT_EQ(few.status(tasks[2])->queue_position, 5U);

  set_paused(many, false);
  for (const TaskHandle& task : tasks) ASSERT_TRUE(few.wait(task));

  const std::vector<std::string> order = turns();
  ASSERT_GE(order.size(), 6U);
  EXPECT_EQ(std::vector(order.begin(), order.begin() + 6),
            (std::vector<std::string>{"a0", "b0", "a1", "b1", "a2", "b2"}));
}

TEST_F(FairnessTest, ServesANewcomerAfterOneTurnHoweverLongTheLineIs) {
  serve(config(taking_turns()));
  Client many = client();
  Client few = client(kOtherSecret);
  set_paused(many, true);
  for (int i = 0; i < 2'000; ++i) submit(many, "a" + std::to_string(i));
  set_paused(many, false);
  ASSERT_TRUE(eventually([&] { return !turns().empty(); })) << "the line does not move";

  for (int i = 0; i < 5; ++i) {
    const std::string who = "b" + std::to_string(i);
    const TaskHandle task = submit(few, who);
    // Counted after the task was accepted: the runner may only have gone on meanwhile.
    const auto before = static_cast<std::ptrdiff_t>(turns().size());
    ASSERT_TRUE(few.wait(task));
    const std::vector<std::string> order = turns();

    // The one that runs, if it had not yet written its line.
    EXPECT_LE(turn_of(order, who), before + 1);
    ASSERT_LT(order.size(), 2'000U) << "the line was empty: nothing was shown";
  }
}

// Of a key that may run one task at a time.
TEST_F(FairnessTest, ServesALimitedKeyByItsWeight) {
  constexpr std::size_t kTurns = 40;
  serve(config(taking_turns() + limited_key("heavy", "weight = 4")));
  Client admin = client();
  Client heavy = client("heavy");
  set_paused(admin, true);
  for (std::size_t i = 0; i < kTurns; ++i) {
    submit(heavy, "heavy");
    submit(admin, "light");
  }
  set_paused(admin, false);
  ASSERT_TRUE(eventually([&] { return turns().size() >= kTurns; }));

  std::vector<std::string> order = turns();
  order.resize(kTurns);
  EXPECT_GE(std::ranges::count(order, "heavy"), static_cast<std::ptrdiff_t>(kTurns) * 7 / 10)
      << "four of five, but for claims that came alone";
}

TEST_F(FairnessTest, ServesALimitedKeysOldestTaskThoughOthersOfItsModelsKeepComing) {
  std::string models;
  for (const char* id : {"oldest", "second", "third"}) {
    models += process_model(id, std::string("cat >/dev/null\necho ") + id + " >>../turns/turns\n");
  }
  serve(config(taking_turns() + models + limited_key("limited", "")));
  Client admin = client();
  Client limited = client("limited");
  const auto set_all = [&](const std::string& verb) {
    for (const char* id : {"third", "second", "oldest"}) {
      ASSERT_TRUE(admin.call("POST", std::string("/admin/models/") + id + "/" + verb));
    }
  };
  set_all("pause");
  const auto task = limited.submit("oldest", "{}");
  ASSERT_TRUE(task);
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(limited.submit("second", "{}"));
    ASSERT_TRUE(limited.submit("third", "{}"));
  }

  set_all("resume");
  const auto before = static_cast<std::ptrdiff_t>(turns().size());
  ASSERT_TRUE(limited.wait(*task));

  // One that runs, and one that has just been claimed.
  EXPECT_LE(turn_of(turns(), "oldest"), before + 2);
}

TEST_F(FairnessTest, AModelWithoutAFreeSlotBlocksNoOther) {
  serve(config(process_model("stuck", "cat >/dev/null\nwhile :; do sleep 1; done\n")));
  Client caller = client();
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(caller.submit("stuck", "{}"));

  const auto task = caller.submit("echo", "{}");

  ASSERT_TRUE(task);
  EXPECT_TRUE(caller.wait(*task));
}

}  // namespace
}  // namespace quern
