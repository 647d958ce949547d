// What a disk may do to a server: fail writes, fail syncs, turn read-only, tear the end of the log,
// damage the store; and what another process may do that holds the store.

#include <sqlite3.h>

#include <cerrno>
#include <future>
#include <set>

#include "testing/log_content.h"
#include "tests/system/faulty_server.h"
#include "tests/system/runner_census.h"
#include "tests/system/task_history.h"

namespace quern {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

class DiskFaultTest : public FaultyServerTest {
 protected:
  [[nodiscard]] fs::path store() const { return folder_.path() / "data" / "queue.sqlite"; }
  [[nodiscard]] fs::path log() const { return folder_.path() / "data" / "queue.sqlite-wal"; }

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
  // everything.
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
    ASSERT_TRUE(is_refused(caller));
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
    expect_all_end(caller, acknowledged);

    server_->kill();
    serve(text);
    Client after = client();
    expect_all_end(after, done);
    expect_all_end(after, acknowledged);
    EXPECT_TRUE(after.result(*running));
  }
};

TEST_F(DiskFaultTest, SitsOutADiskThatFailsWrites) { sit_out(board().write_error, EIO); }

TEST_F(DiskFaultTest, SitsOutAFileSystemThatTurnedReadOnly) { sit_out(board().write_error, EROFS); }

TEST_F(DiskFaultTest, SitsOutADiskThatFailsSyncs) { sit_out(board().sync_error, EIO); }

TEST_F(DiskFaultTest, DoesNotBringBackARefusedCreateInACrashRightAfterIt) {
  serve(config());
  std::set<std::string> acknowledged;
  {
    Client caller = client();
    pause(caller);
    for (const TaskHandle& task : submit(caller, 5)) acknowledged.insert(task.request_id);

    // The commit is written whole when its sync fails.
    board().sync_error = EIO;
    ASSERT_TRUE(is_refused(caller));
    server_->kill();
  }
  board().sync_error = 0;
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
    // The log moves once it is 40 MB long.
    for (int i = 0; i < 200 && server_->log().find(words) == std::string::npos; ++i) {
      for (TaskHandle& task : submit(caller, 1, 1'000'000)) acknowledged.push_back(std::move(task));
    }
    EXPECT_NE(server_->log().find(words), std::string::npos) << server_->log();
  };

  board().database_sync_error = EIO;
  submit_until_logged("the write-ahead log only grows until this is mended");
  EXPECT_EQ(ready_status(), 200) << "creates are durable in the log";
  server_->kill();
  board().database_sync_error = 0;
  serve(config());

  EXPECT_LT(fs::file_size(log()), 1'000'000U) << "a start moves it";
  Client after = client();
  for (const TaskHandle& task : acknowledged) EXPECT_TRUE(after.status(task)) << task.request_id;
}

// The write lock of the store, held by this process.
class StoreLock {
 public:
  explicit StoreLock(const fs::path& store) {
    EXPECT_EQ(::sqlite3_open(store.c_str(), &connection_), SQLITE_OK);
    EXPECT_EQ(::sqlite3_busy_timeout(connection_, 30'000), SQLITE_OK);
    EXPECT_EQ(::sqlite3_exec(connection_, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  }
  ~StoreLock() { ::sqlite3_close(connection_); }
  StoreLock(const StoreLock&) = delete;
  StoreLock& operator=(const StoreLock&) = delete;

 private:
  sqlite3* connection_ = nullptr;
};

TEST_F(DiskFaultTest, WaitsForAnotherProcessThatHoldsTheStore) {
  serve(config());
  Client caller = client();
  Client poller = client();
  pause(caller);
  const TaskHandle known = submit(caller, 1).at(0);
  // It repeats: on a slow machine even a short hold may outlast the server's patience.
  Client patient({.url = server_->url(), .key = kSecret});

  auto lock = std::make_unique<StoreLock>(store());
  auto waiting = std::async(std::launch::async, [&] { return patient.submit("echo", "{}"); });
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(poller.status(known)) << "polls need no lock";
  EXPECT_EQ(waiting.wait_for(seconds{0}), std::future_status::timeout);
  lock.reset();
  const auto task = waiting.get();
  EXPECT_TRUE(task) << task.error().message;

  // Held for longer than a caller should wait.
  lock = std::make_unique<StoreLock>(store());
  EXPECT_TRUE(is_refused(caller));
  EXPECT_EQ(ready_status(), 503);
  lock.reset();
  EXPECT_TRUE(eventually([&] { return ready_status() == 200; })) << "it must resume by itself";
  resume(caller);
  expect_all_end(caller, {known, *task});
  expect_all_end(caller, submit(caller, 1));
}

TEST_F(DiskFaultTest, LosesNothingAcknowledgedToATornEndOfTheLog) {
  serve(config());
  std::vector<TaskHandle> acknowledged;
  std::vector<TaskHandle> torn;
  std::uintmax_t acknowledged_bytes = 0;
  {
    Client caller = client();
    pause(caller);
    acknowledged = submit(caller, 20, 5'000);
    acknowledged_bytes = log_content_bytes(log());
    torn = submit(caller, 20, 5'000);
    server_->kill();
  }
  const std::uintmax_t all_bytes = log_content_bytes(log());
  ASSERT_GT(all_bytes, acknowledged_bytes + 20 * 5'000);
  fs::resize_file(log(), acknowledged_bytes + (all_bytes - acknowledged_bytes) / 2 + 123);
  std::ofstream(log(), std::ios::binary | std::ios::app) << std::string(10'000, '\x5a');
  serve(config());

  Client caller = client();
  resume(caller);
  expect_all_end(caller, acknowledged);
  std::vector<TaskHandle> kept;
  for (const TaskHandle& task : torn) {
    if (caller.status(task)) kept.push_back(task);
  }
  EXPECT_LT(kept.size(), torn.size());
  expect_all_end(caller, kept);
  expect_all_end(caller, submit(caller, 5));
}

TEST_F(DiskFaultTest, SaysWhatToDoAboutADamagedStoreAndChangesNothing) {
  serve(config());
  {
    Client caller = client();
    pause(caller);
    submit(caller, 200, 5'000);
  }
  ASSERT_EQ(server_->terminate(), 0);
  const auto size = static_cast<std::streamoff>(fs::file_size(store()));
  {
    std::fstream file(store(), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(size / 4);
    file << std::string(static_cast<std::size_t>(size / 2), '\xa5');
  }
  const auto bytes = [&] {
    std::ifstream file(store(), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const std::string damaged = bytes();

  EXPECT_FALSE(server_->start());

  EXPECT_EQ(server_->reap(), 1);
  const std::string said = server_->log();
  EXPECT_NE(said.find("the store in " + (folder_.path() / "data").string() + " is damaged"),
            std::string::npos)
      << said;
  EXPECT_NE(said.find("restore a backup, or see docs/OPERATING.md"), std::string::npos) << said;
  EXPECT_TRUE(bytes() == damaged);
}

}  // namespace
}  // namespace quern
