// Whose a task is and which model's, over restarts: rows tell it by numbers of names.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "queue/local/data_folder.h"
#include "queue/local/local_queue_fixture.h"
#include "queue/local/sqlite.h"

namespace quern {
namespace {

class NamesTest : public LocalQueueTest {
 protected:
  void know(const std::vector<std::string>& keys, const std::vector<std::string>& models = {}) {
    QueuePolicy policy;
    policy.models.push_back({.id = "echo"});
    for (const std::string& model : models) policy.models.push_back({.id = model});
    for (const std::string& key : keys) policy.keys.push_back({.id = key});
    ASSERT_TRUE(ask<bool>([&](auto reply) { queue().configure(policy, std::move(reply)); }));
  }
  TaskId submit_as(const std::string& key, const std::string& model = "echo") {
    Submission task = submission();
    task.key = key;
    task.model = model;
    const auto made =
        ask<Submitted>([&](auto reply) { queue().submit(std::move(task), std::move(reply)); });
    EXPECT_TRUE(made);
    return made ? made->id : TaskId{};
  }
  TaskId end_one_as(const std::string& key) {
    const TaskId id = submit_as(key);
    for (const Claim& one : claim(queue())) EXPECT_TRUE(finish(queue(), one.lease));
    return id;
  }
  void purge(const TaskId& id) {
    EXPECT_TRUE(ask<bool>([&](auto reply) { queue().purge({.id = id}, std::move(reply)); }));
  }
  bool sees(const std::string& key, const TaskId& id, const std::string& model = "echo") {
    return ask<TaskView>([&](auto reply) {
             queue().find({.ref = {.id = id, .key = key, .model = model}}, std::move(reply));
           })
        .has_value();
  }
  void execute(const char* sql) {
    Connection connection =
        Connection::open(database_in(harness_.folder()), Connection::Mode::read_write).value();
    ASSERT_TRUE(connection.execute(sql));
  }
};

TEST_F(NamesTest, AreKeptThoughAPurgeIsTheFirstToBeWrittenAfterThem) {
  const TaskId old = end_one_as("ada");
  know({"ada", "bob"}, {"draw"});
  purge(old);
  const TaskId of_bob = submit_as("bob", "draw");
  know({"ada", "bob", "eve"}, {"draw", "sing"});
  const TaskId of_eve = submit_as("eve", "sing");

  harness_.reopen();

  know({"eve", "bob", "ada"}, {"sing", "draw"});
  EXPECT_TRUE(sees("bob", of_bob, "draw"));
  EXPECT_TRUE(sees("eve", of_eve, "sing"));
  EXPECT_FALSE(sees("eve", of_bob, "draw") || sees("ada", of_bob, "draw"));
  EXPECT_FALSE(sees("bob", of_eve, "sing") || sees("bob", of_bob, "sing"));
}

TEST_F(NamesTest, AreKeptThoughAProbeIsTheFirstToBeWrittenAfterThem) {
  know({"ada", "bob"});
  harness_.local().set_disk_full(true);
  EXPECT_FALSE(submit(queue()));
  harness_.local().set_disk_full(false);
  harness_.advance(std::chrono::seconds{2});  // a probe finds that it can be written
  const TaskId of_bob = submit_as("bob");

  harness_.reopen();

  know({"eve", "bob", "ada"});
  EXPECT_TRUE(sees("bob", of_bob));
  EXPECT_FALSE(sees("eve", of_bob) || sees("ada", of_bob));
}

TEST_F(NamesTest, ThatAreLostGiveTheirTasksToNobodyElse) {
  know({"ada", "bob", "eve"});
  const TaskId of_ada = submit_as("ada");
  const TaskId of_bob = submit_as("bob");
  const TaskId of_eve = submit_as("eve");
  harness_.reopen();  // what is pending reaches the tables
  execute("DELETE FROM key_name WHERE name IN ('bob', 'eve')");
  harness_.reopen();

  know({"ada", "new"});
  const TaskId of_new = submit_as("new");

  EXPECT_TRUE(sees("ada", of_ada) && sees("new", of_new));
  EXPECT_FALSE(sees("new", of_bob) || sees("new", of_eve) || sees("ada", of_bob));
  EXPECT_TRUE(sees("", of_bob) && sees("", of_eve)) << "administrators do";
  harness_.reopen();
  know({"newer", "new"});
  EXPECT_TRUE(sees("new", of_new));
  EXPECT_FALSE(sees("newer", of_bob) || sees("newer", of_eve));
}

}  // namespace
}  // namespace quern
