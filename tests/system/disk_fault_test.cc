// What a disk may do to a server: fail writes, fail syncs, turn read-only, tear the end of the log,
// damage the store; and what another process may do that holds the store.

#include <cerrno>
#include <set>

#include "tests/system/faulty_server.h"
#include "tests/system/runner_census.h"
#include "tests/system/store_files.h"
#include "tests/system/task_history.h"

namespace quern {
namespace {

namespace fs = std::filesystem;

class DiskFaultTest : public FaultyServerTest {
 protected:
  [[nodiscard]] StoreFiles store() const { return {folder_.path() / "data"}; }

  static void pause(Client& admin) { ASSERT_TRUE(admin.call("POST", "/admin/models/echo/pause")); }
  static void resume(Client& admin) {
    ASSERT_TRUE(admin.call("POST", "/admin/models/echo/resume"));
  }
  static std::vector<TaskHandle> submit(Client& caller, int count, std::size_t bytes = 0) {
    const std::string input = R"({"prompt":")" + std::string(bytes, 'x') + R"("})";
    std::vector<TaskHandle> tasks;
    for (int i = 0; i < count; ++i) {
      const auto task = caller.submit("echo", input);
      EXPECT_TRUE(task) << task.error().message;
      if (task) tasks.push_back(*task);
    }
    return tasks;
  }
  // A create gets 502, since the store took nothing; true.
  static bool is_refused(Client& caller) {
    const auto refused = caller.submit("echo", "{}");
    EXPECT_FALSE(refused);
    if (refused) return false;
    EXPECT_EQ(refused.error().http_status, 502) << refused.error().message;
    return refused.error().http_status == 502;
  }
  // Creates tasks until one gets 502, and answers those that were taken before.
  static std::vector<TaskHandle> submit_until_refused(Client& caller) {
    std::vector<TaskHandle> taken;
    const bool refused = eventually([&] {
      const auto task = caller.submit("echo", "{}");
      if (task) {
        taken.push_back(*task);
      } else {
        EXPECT_EQ(task.error().http_status, 502) << task.error().message;
      }
      return !task;
    });
    EXPECT_TRUE(refused) << taken.size() << " were taken";
    return taken;
  }
  static std::set<std::string> all_tasks(Client& admin) {
    const auto page = admin.call("GET", "/admin/tasks?limit=1000");
    EXPECT_TRUE(page);
    std::set<std::string> ids;
    const json::value body = *parse_json(page.value_or("{}"));
    for (const json::value& task : body.at("tasks").get_array()) {
      ids.insert(std::string(task.at("request_id").get_string()));
    }
    return ids;
  }
  // Each acknowledged task is there and ends with its result.
  static void expect_all_end(Client& caller, const std::vector<TaskHandle>& tasks) {
    for (const TaskHandle& task : tasks) {
      const auto result = caller.wait(task);
      EXPECT_TRUE(result) << task.request_id << ": " << result.error().message;
    }
  }

  // While `fault` is `error`, the server goes on with all that needs no writing, and afterwards with
  // everything. Notes in taken_ how many creates were taken before the first was refused.
  void sit_out(std::atomic<int>& fault, int error) {
    const std::string text = config(process_model("wait", kWaitForGo, "attempts = 1"));
    serve(text);
    Client caller = client();
    const std::vector<TaskHandle> done = submit(caller, 3);
    expect_all_end(caller, done);
    const auto running = caller.submit("wait", "{}");
    ASSERT_TRUE(running);
    wait_until_running(caller, *running);

    fault = error;
    const std::vector<TaskHandle> taken = submit_until_refused(caller);
    taken_ = taken.size();
    EXPECT_GT(board().faults, 0U);
    EXPECT_EQ(ready_status(), 503);
    EXPECT_TRUE(caller.result(done.front())) << "results are served";
    // A runner that is through meanwhile keeps its result.
    std::ofstream(folder_.path() / "wait" / "go") << "";
    EXPECT_TRUE(eventually([&] { return runners_in(folder_.path() / "wait").empty(); }));
    EXPECT_EQ(caller.status(*running)->status, TaskStatus::in_progress) << "polls are answered";
    EXPECT_TRUE(is_refused(caller));

    fault = 0;
    EXPECT_TRUE(eventually([&] { return ready_status() == 200; })) << "it must resume by itself";
    const auto result = caller.wait(*running);
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(look_up(caller, running->request_id).attempts.size(), 1U);
    std::vector<TaskHandle> acknowledged = submit(caller, 3);
    acknowledged.insert(acknowledged.end(), taken.begin(), taken.end());
    expect_all_end(caller, acknowledged);

    server_->kill();
    serve(text);
    Client after = client();
    expect_all_end(after, done);
    expect_all_end(after, acknowledged);
    EXPECT_TRUE(after.result(*running));
  }

  std::size_t taken_ = 0;
};

TEST_F(DiskFaultTest, SitsOutADiskThatFailsWrites) {
  sit_out(board().write_error, EIO);
  EXPECT_EQ(taken_, 0U) << "nothing is acknowledged that could not be written";
}

TEST_F(DiskFaultTest, SitsOutAFileSystemThatTurnedReadOnly) {
  sit_out(board().write_error, EROFS);
  EXPECT_EQ(taken_, 0U);
}

TEST_F(DiskFaultTest, SitsOutADiskThatFailsSyncs) {
  sit_out(board().sync_error, EIO);
  EXPECT_EQ(taken_, 0U);
}

// What was taken before the tables' failure was noticed is in the redo log.
TEST_F(DiskFaultTest, SitsOutTablesThatCannotBeWritten) {
  sit_out(board().tables_write_error, EIO);
}

// The writes go well, and only what waits for the disk hears of it.
TEST_F(DiskFaultTest, SitsOutTablesThatDoNotReachTheDisk) {
  sit_out(board().tables_portion_error, EIO);
}

TEST_F(DiskFaultTest, LosesNothingAcknowledgedInACrashWhileTheTablesCannotBeWritten) {
  serve(config());
  std::vector<TaskHandle> ended;
  std::vector<TaskHandle> waiting;
  {
    Client caller = client();
    ended = submit(caller, 5);
    expect_all_end(caller, ended);
    pause(caller);
    waiting = submit(caller, 5, 5'000);
    board().tables_write_error = EIO;
    for (const TaskHandle& task : submit_until_refused(caller)) waiting.push_back(task);
    EXPECT_EQ(ready_status(), 503);
    EXPECT_TRUE(caller.status(waiting.back())) << "polls are answered";
    EXPECT_TRUE(is_refused(caller));
    server_->kill();
  }
  EXPECT_GT(records_pending(store()), 0U);
  board().tables_write_error = 0;
  serve(config());

  Client after = client();
  for (const TaskHandle& task : ended) {
    EXPECT_TRUE(after.result(task));
    EXPECT_EQ(look_up(after, task.request_id).attempts.size(), 1U) << "it does not run again";
  }
  EXPECT_EQ(all_tasks(after).size(), ended.size() + waiting.size());
  resume(after);
  expect_all_end(after, waiting);
}

TEST_F(DiskFaultTest, DoesNotBringBackARefusedCreateInACrashRightAfterIt) {
  serve(config());
  std::set<std::string> acknowledged;
  {
    Client caller = client();
    pause(caller);
    for (const TaskHandle& task : submit(caller, 5)) acknowledged.insert(task.request_id);

    // The record is written whole when its sync fails.
    board().redo_sync_error = EIO;
    ASSERT_TRUE(is_refused(caller));
    server_->kill();
  }
  board().redo_sync_error = 0;
  serve(config());

  Client after = client();
  EXPECT_EQ(all_tasks(after), acknowledged);
}

TEST_F(DiskFaultTest, DoesNotBringBackARefusedCreateBehindALaterOne) {
  serve(config());
  std::set<std::string> acknowledged;
  {
    Client caller = client();
    pause(caller);
    for (const TaskHandle& task : submit(caller, 5)) acknowledged.insert(task.request_id);
    // Held, so that the redo log alone has what follows.
    const StoreLock lock(store().database());
    board().redo_sync_error = EIO;
    // A long one, of which the short one that takes its place leaves the most.
    EXPECT_FALSE(caller.submit("echo", R"({"prompt":")" + std::string(20'000, 'x') + R"("})"));
    board().redo_sync_error = 0;
    // What tries every second whether the disk works takes the place, or the create itself.
    EXPECT_TRUE(eventually([&] {
      const auto task = caller.submit("echo", "{}");
      if (task) acknowledged.insert(task->request_id);
      return task.has_value();
    }));
    server_->kill();
  }
  serve(config());

  Client after = client();
  EXPECT_EQ(all_tasks(after), acknowledged);
}

TEST_F(DiskFaultTest, StartsOnAFailingDiskAndGoesOnOnceItWorks) {
  serve(config());
  std::vector<TaskHandle> acknowledged;
  {
    Client caller = client();
    pause(caller);
    acknowledged = submit(caller, 5);
    server_->kill();
  }
  board().sync_error = EIO;
  serve(config());
  Client caller = client();

  EXPECT_EQ(caller.status(acknowledged.front())->status, TaskStatus::in_queue);
  EXPECT_TRUE(is_refused(caller));
  EXPECT_EQ(ready_status(), 503);

  board().sync_error = 0;
  EXPECT_TRUE(eventually([&] { return ready_status() == 200; })) << "it must resume by itself";
  resume(caller);
  expect_all_end(caller, acknowledged);
  expect_all_end(caller, submit(caller, 1));
}

TEST_F(DiskFaultTest, SaysWhenTheLogCannotMoveIntoTheDatabase) {
  serve(config());
  Client caller = client();
  pause(caller);
  std::vector<TaskHandle> acknowledged;
  const auto submit_until_logged = [&](const char* words) {
    // The log moves once it is 6 MB long, or the redo log has no room.
    for (int i = 0; i < 200 && server_->log().find(words) == std::string::npos; ++i) {
      for (TaskHandle& task : submit(caller, 1, 1'000'000)) acknowledged.push_back(std::move(task));
    }
    EXPECT_NE(server_->log().find(words), std::string::npos) << server_->log();
  };

  board().database_sync_error = EIO;
  submit_until_logged("the write-ahead log only grows until this is mended");
  EXPECT_EQ(ready_status(), 200);
  for (TaskHandle& task : submit(caller, 20, 1'000'000)) acknowledged.push_back(std::move(task));
  server_->kill();
  board().database_sync_error = 0;
  serve(config());

  Client after = client();
  EXPECT_TRUE(eventually([&] { return fs::file_size(store().tables_log()) < 1'000'000; }))
      << "a start moves it";
  for (const TaskHandle& task : acknowledged) EXPECT_TRUE(after.status(task)) << task.request_id;
}

TEST_F(DiskFaultTest, WaitsForAnotherProcessThatHoldsTheStore) {
  serve(config());
  Client caller = client();
  const TaskHandle before = submit(caller, 1).at(0);
  expect_all_end(caller, {before});

  auto lock = std::make_unique<StoreLock>(store().database());
  std::vector<TaskHandle> acknowledged = submit(caller, 1);
  expect_all_end(caller, acknowledged);  // commits need no lock
  // Held for longer than the tables may be behind.
  pause(caller);
  for (const TaskHandle& task : submit_until_refused(caller)) acknowledged.push_back(task);
  EXPECT_EQ(ready_status(), 503);
  EXPECT_TRUE(caller.status(acknowledged.back())) << "polls are answered";
  EXPECT_TRUE(caller.result(before)) << "results are served";
  EXPECT_TRUE(caller.result(acknowledged.front()));
  lock.reset();

  EXPECT_TRUE(eventually([&] { return ready_status() == 200; })) << "it must resume by itself";
  resume(caller);
  expect_all_end(caller, acknowledged);
  expect_all_end(caller, submit(caller, 1));
}

TEST_F(DiskFaultTest, LosesNothingAcknowledgedInACrashWhileAnotherProcessHoldsTheStore) {
  serve(config());
  std::vector<TaskHandle> ended;
  std::vector<TaskHandle> waiting;
  {
    Client caller = client();
    const StoreLock lock(store().database());
    ended = submit(caller, 5);
    expect_all_end(caller, ended);
    pause(caller);
    waiting = submit(caller, 5, 5'000);
    server_->kill();
  }
  EXPECT_GE(records_pending(store()), 5U + 5U);
  serve(config());

  Client after = client();
  for (const TaskHandle& task : ended) {
    EXPECT_TRUE(after.result(task));
    EXPECT_EQ(look_up(after, task.request_id).attempts.size(), 1U) << "it does not run again";
  }
  resume(after);
  expect_all_end(after, waiting);
}

TEST_F(DiskFaultTest, LosesNothingAcknowledgedToATornEndOfTheLog) {
  serve(config());
  std::vector<TaskHandle> acknowledged;
  std::vector<TaskHandle> torn;
  std::size_t acknowledged_records = 0;
  {
    Client caller = client();
    pause(caller);
    // Held, so that the tables do not have what is torn off.
    const StoreLock lock(store().database());
    acknowledged = submit(caller, 20, 5'000);
    acknowledged_records = redo_records(store().redo_a()).size();
    torn = submit(caller, 20, 5'000);
    server_->kill();
  }
  const std::vector<RedoRecordAt> records = redo_records(store().redo_a());
  ASSERT_EQ(records.size(), acknowledged_records + torn.size());
  const RedoRecordAt& middle = records[acknowledged_records + torn.size() / 2];
  fs::resize_file(store().redo_a(), middle.at + middle.bytes / 2);
  std::ofstream(store().redo_a(), std::ios::binary | std::ios::app) << std::string(10'000, '\x5a');
  serve(config());

  Client caller = client();
  std::vector<TaskHandle> kept;
  for (const TaskHandle& task : torn) {
    if (caller.status(task)) kept.push_back(task);
  }
  EXPECT_EQ(kept.size(), torn.size() / 2);
  resume(caller);
  expect_all_end(caller, acknowledged);
  expect_all_end(caller, kept);
  expect_all_end(caller, submit(caller, 5));
}

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

void overwrite(const fs::path& path, std::uintmax_t at, std::uintmax_t count) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(at));
  file << std::string(count, '\xa5');
}

TEST_F(DiskFaultTest, SaysWhatToDoAboutADamagedStoreAndChangesNothing) {
  serve(config());
  {
    Client caller = client();
    pause(caller);
    submit(caller, 200, 5'000);
  }
  ASSERT_EQ(server_->terminate(), 0);
  const std::uintmax_t size = fs::file_size(store().database());
  overwrite(store().database(), size / 4, size / 2);
  const std::string damaged = bytes_of(store().database());

  EXPECT_FALSE(server_->start());

  EXPECT_EQ(server_->reap(), 1);
  const std::string said = server_->log();
  EXPECT_NE(said.find("the store in " + store().folder.string() + " is damaged"), std::string::npos)
      << said;
  EXPECT_NE(said.find("restore a backup, or see docs/OPERATING.md"), std::string::npos) << said;
  EXPECT_TRUE(bytes_of(store().database()) == damaged);
}

void execute(const fs::path& database, const std::string& sql) {
  sqlite3* connection = nullptr;
  ASSERT_EQ(::sqlite3_open(database.c_str(), &connection), SQLITE_OK);
  EXPECT_EQ(::sqlite3_exec(connection, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
  ::sqlite3_close(connection);
}

TEST_F(DiskFaultTest, CannotRunOnAStoreOfANewerVersion) {
  serve(config());
  ASSERT_EQ(server_->terminate(), 0);
  execute(store().database(), "PRAGMA user_version=1000");

  EXPECT_FALSE(server_->start());

  EXPECT_EQ(server_->reap(), 1) << "its configuration is not broken";
  EXPECT_NE(server_->log().find("the store has version 1000"), std::string::npos) << server_->log();
}

TEST_F(DiskFaultTest, SaysWhatToDoAboutATaskThatIsDamagedAndChangesNothing) {
  serve(config());
  {
    Client caller = client();
    pause(caller);
    submit(caller, 3);
  }
  ASSERT_EQ(server_->terminate(), 0);

  for (const std::string damage : {"UPDATE task SET state = 3", "UPDATE task SET key = -1",
                                   "UPDATE task SET model = 4000000000"}) {
    execute(store().database(), damage + " WHERE seq = (SELECT max(seq) FROM task)");
    const std::string damaged = bytes_of(store().database());

    EXPECT_FALSE(server_->start()) << damage;

    EXPECT_EQ(server_->reap(), 1) << damage;
    EXPECT_TRUE(bytes_of(store().database()) == damaged);
    execute(store().database(), "UPDATE task SET state = 0, key = 0, model = 0");
  }
  const std::string said = server_->log();
  EXPECT_NE(said.find("the store in " + store().folder.string() + " is damaged"), std::string::npos)
      << said;
  EXPECT_NE(said.find("the stored task "), std::string::npos) << said;
}

std::uintmax_t first_page_of(const fs::path& database, const std::string& table) {
  std::uintmax_t page = 0;
  sqlite3* connection = nullptr;
  EXPECT_EQ(::sqlite3_open(database.c_str(), &connection), SQLITE_OK);
  const auto take = [](void* into, int, char** values, char**) {
    *static_cast<std::uintmax_t*>(into) = std::stoull(values[0]);
    return 0;
  };
  const std::string sql = "SELECT rootpage FROM sqlite_schema WHERE name = '" + table + "'";
  EXPECT_EQ(::sqlite3_exec(connection, sql.c_str(), take, &page, nullptr), SQLITE_OK);
  ::sqlite3_close(connection);
  EXPECT_GT(page, 1U);
  return page;
}

TEST_F(DiskFaultTest, ServesTheResultsOfTasksWhoseLogsAreDamaged) {
  constexpr std::uintmax_t kPageBytes = 4096;
  serve(config());
  std::vector<TaskHandle> ended;
  {
    Client caller = client();
    ended = submit(caller, 3);
    expect_all_end(caller, ended);
  }
  ASSERT_EQ(server_->terminate(), 0);
  const std::uintmax_t page = first_page_of(store().database(), "log");
  overwrite(store().database(), (page - 1) * kPageBytes, kPageBytes);
  serve(config());

  Client caller = client();
  for (const TaskHandle& task : ended) {
    const auto result = caller.result(task);
    EXPECT_TRUE(result) << result.error().message;
    const auto logs = caller.call("GET", "/admin/tasks/" + task.request_id);
    ASSERT_FALSE(logs) << "the logs are not said to be none";
    EXPECT_EQ(logs.error().http_status, 500);
    EXPECT_TRUE(caller.result(task)) << "nor is what has been read of it forgotten";
  }
  EXPECT_NE(server_->log().find("(SQLite code 11)"), std::string::npos) << server_->log();
  expect_all_end(caller, submit(caller, 3));
}

TEST_F(DiskFaultTest, SaysWhatToDoAboutADamagedRedoLogAndChangesNothing) {
  serve(config());
  {
    Client caller = client();
    pause(caller);
    // Held, so that the tables do not have what is damaged.
    const StoreLock lock(store().database());
    submit(caller, 20, 5'000);
    server_->kill();
  }
  const std::vector<RedoRecordAt> records = redo_records(store().redo_a());
  ASSERT_GT(records.size(), 20U);
  const RedoRecordAt& needed = records[records.size() - 10];
  overwrite(store().redo_a(), needed.at + needed.bytes / 2, 16);
  const std::string damaged = bytes_of(store().redo_a());
  const std::uint64_t pending = records_pending(store());

  for (int i = 0; i < 2; ++i) {
    EXPECT_FALSE(server_->start());
    EXPECT_EQ(server_->reap(), 1);
  }

  const std::string said = server_->log();
  EXPECT_NE(said.find("the store in " + store().folder.string() + " is damaged"), std::string::npos)
      << said;
  EXPECT_NE(said.find(std::to_string(needed.number) + " is damaged"), std::string::npos) << said;
  EXPECT_TRUE(bytes_of(store().redo_a()) == damaged);
  EXPECT_EQ(records_pending(store()), pending) << "nothing before it went into the tables";
}

TEST_F(DiskFaultTest, SaysWhatToDoAboutARedoLogThatWasCutShortAndChangesNothing) {
  serve(config());
  std::vector<TaskHandle> acknowledged;
  {
    Client caller = client();
    pause(caller);
    acknowledged = submit(caller, 20, 5'000);
    all_tasks(caller);  // a list shows the tables, so that they have all of it
    server_->kill();
  }
  const std::string whole = bytes_of(store().redo_a());
  fs::resize_file(store().redo_a(), redo_content_bytes(store().redo_a()) / 2);
  const std::string damaged = bytes_of(store().redo_a());

  for (int i = 0; i < 2; ++i) {
    EXPECT_FALSE(server_->start());
    EXPECT_EQ(server_->reap(), 1);
    EXPECT_TRUE(bytes_of(store().redo_a()) == damaged);
  }

  const std::string said = server_->log();
  EXPECT_NE(said.find("the redo log lacks records: it ends at "), std::string::npos) << said;
  std::ofstream(store().redo_a(), std::ios::binary | std::ios::trunc) << whole;
  serve(config());
  Client after = client();
  resume(after);
  expect_all_end(after, acknowledged);
}

// The tables have all of it after a stop in order.
TEST_F(DiskFaultTest, StartsWithoutTheRedoLogOfAServerThatStoppedInOrder) {
  serve(config());
  std::vector<TaskHandle> acknowledged;
  {
    Client caller = client();
    pause(caller);
    acknowledged = submit(caller, 20, 5'000);
  }
  ASSERT_EQ(server_->terminate(), 0);
  EXPECT_EQ(records_pending(store()), 0U);
  fs::remove(store().redo_a());
  fs::remove(store().redo_b());
  serve(config());
  {
    Client caller = client();
    for (TaskHandle& task : submit(caller, 5)) acknowledged.push_back(std::move(task));
    server_->kill();
  }
  serve(config());

  Client after = client();
  resume(after);
  expect_all_end(after, acknowledged);
}

}  // namespace
}  // namespace quern
