// What a power cut may take from the store, and must not take from a caller.
//
// A commit is synced in the redo log; the transactions of the tables are not. So a power cut may take
// from their log whatever was written since it last moved into the database, all or the end of it.
// A kill takes nothing from a file, so tests cut it by themselves, at moments when nothing of it has
// to stay: while it is not being moved.

#include <initializer_list>

#include "tests/system/store_files.h"
#include "tests/system/system_fixture.h"
#include "tests/system/task_history.h"

namespace quern {
namespace {

namespace fs = std::filesystem;

/// How much of the log is left.
struct Share {
  std::uintmax_t parts = 0;
  std::uintmax_t of = 1;
};

class PowerCutTest : public SystemTest {
 protected:
  [[nodiscard]] StoreFiles store() const { return {folder_.path() / "data"}; }

  void end_some(Client& caller, int count, std::size_t bytes) {
    for (int i = 0; i < count; ++i) {
      const auto task = caller.submit("echo", input_of(bytes));
      ASSERT_TRUE(task) << task.error().message;
      ASSERT_TRUE(caller.wait(*task));
      ended_.push_back(*task);
    }
  }
  void queue_some(Client& caller, int count, std::size_t bytes) {
    for (int i = 0; i < count; ++i) {
      const auto task = caller.submit("echo", input_of(bytes));
      ASSERT_TRUE(task) << task.error().message;
      queued_.push_back(*task);
    }
  }
  static void pause(Client& admin) { ASSERT_TRUE(admin.call("POST", "/admin/models/echo/pause")); }
  // A list shows the tables, so that they have all of before.
  static void settle(Client& admin) { ASSERT_TRUE(admin.call("GET", "/admin/tasks?limit=1")); }

  // Kills the server; then, for each of `shares`, starts one on what the power cut left.
  void expect_all_there_after_cuts(std::initializer_list<Share> shares) {
    server_->kill();
    const TempFolder saved;
    fs::copy(store().folder, saved.path(), fs::copy_options::recursive);
    const std::uintmax_t bytes = log_content_bytes(store().tables_log());
    for (const Share& share : shares) {
      fs::remove_all(store().folder);
      fs::copy(saved.path(), store().folder, fs::copy_options::recursive);
      fs::permissions(store().folder, fs::perms::owner_all);
      fs::resize_file(store().tables_log(), bytes * share.parts / share.of);
      serve(config());
      SCOPED_TRACE(std::to_string(share.parts) + "/" + std::to_string(share.of) + " is left of " +
                   std::to_string(bytes) + " bytes");
      expect_all_there();
      server_->kill();
    }
  }

  std::vector<TaskHandle> ended_;
  std::vector<TaskHandle> queued_;

 private:
  static std::string input_of(std::size_t bytes) {
    return R"({"prompt":")" + std::string(bytes, 'x') + R"("})";
  }
  void expect_all_there() {
    Client after = client();
    for (const TaskHandle& task : ended_) {
      EXPECT_TRUE(after.result(task)) << task.request_id;
      const TaskSeen facts = look_up(after, task.request_id);
      EXPECT_EQ(facts.state, "succeeded") << task.request_id;
      EXPECT_EQ(facts.attempts.size(), 1U) << "it must not run again";
    }
    for (const TaskHandle& task : queued_) {
      const auto status = after.status(task);
      ASSERT_TRUE(status) << task.request_id << ": " << status.error().message;
      EXPECT_EQ(status->status, TaskStatus::in_queue) << "its model is paused";
    }
    ASSERT_TRUE(after.call("POST", "/admin/models/echo/resume"));
    for (const TaskHandle& task : queued_) {
      const auto result = after.wait(task);
      EXPECT_TRUE(result) << task.request_id << ": " << result.error().message;
    }
    const auto more = after.submit("echo", "{}");
    ASSERT_TRUE(more) << more.error().message;
    EXPECT_TRUE(after.wait(*more));
  }
};

constexpr auto kShares = {Share{0, 1}, Share{1, 3}, Share{1, 2}, Share{99, 100}};

TEST_F(PowerCutTest, TakesNothingAcknowledgedWithTheTablesLog) {
  serve(config());
  {
    Client caller = client();
    end_some(caller, 20, 100);
    pause(caller);
    queue_some(caller, 20, 5'000);
    settle(caller);
    queue_some(caller, 5, 5'000);
  }

  expect_all_there_after_cuts(kShares);
}

TEST_F(PowerCutTest, TakesNothingAcknowledgedWithTheTablesLogAfterTheRedoLogWasUsedAnew) {
  serve(config());
  {
    Client caller = client();
    end_some(caller, 10, 200'000);
    pause(caller);
    queue_some(caller, 40, 400'000);
    // The last large transaction may have set the log moving; one that follows waits for that.
    for (int i = 0; i < 3; ++i) {
      queue_some(caller, 1, 100);
      settle(caller);
    }
    queue_some(caller, 5, 100);
  }
  EXPECT_GT(fs::file_size(store().database()), 10'000'000U) << "the log was moved";
  EXPECT_GT(redo_records(store().redo_a()).front().number, 1U) << "the redo log was used anew";

  expect_all_there_after_cuts({{0, 1}, {1, 2}});
}

}  // namespace
}  // namespace quern
