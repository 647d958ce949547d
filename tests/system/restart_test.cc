// What a restart and a crash leave: everything that was acknowledged.

#include <fcntl.h>
#include <poll.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <regex>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "tests/system/system_fixture.h"

namespace quern {
namespace {

using std::chrono::seconds;

TEST_F(SystemTest, ServesTheResultOfATaskThatFinishedBeforeARestart) {
  serve(config());
  Client before = client();
  const auto task = before.submit("echo", R"({"prompt":"hello"})");
  ASSERT_TRUE(task) << task.error().message;
  ASSERT_TRUE(before.wait(*task));

  EXPECT_EQ(server_->terminate(), 0);
  serve(config());

  const auto result = client().result(*task);
  ASSERT_TRUE(result) << result.error().message;
  ASSERT_EQ(result->outputs.size(), 1U);
  EXPECT_EQ(result->outputs[0].text, R"({"prompt":"hello"})");
  EXPECT_EQ(result->metadata, R"({"prompt":"hello"})");
}

TEST_F(SystemTest, LosesNoAcknowledgedTaskWhenKilledUnderLoad) {
  serve(config());
  std::mutex mutex;  // guards acknowledged
  std::vector<TaskHandle> acknowledged;
  std::atomic<int> enough{0};
  {
    std::vector<std::jthread> submitters;
    for (int n = 0; n < 8; ++n) {
      submitters.emplace_back([&, n](std::stop_token stop) {
        Client mine = client();
        for (int i = 0; !stop.stop_requested(); ++i) {
          const std::string input =
              R"({"prompt":")" + std::to_string(n) + "-" + std::to_string(i) + R"("})";
          const auto task = mine.submit("echo", input);
          if (!task) return;  // the server is gone
          const std::scoped_lock lock(mutex);
          acknowledged.push_back(*task);
          if (acknowledged.size() >= 400) enough.store(1), enough.notify_all();
        }
      });
    }
    enough.wait(0);
    server_->kill();
  }

  serve(config());

  Client after = client();
  ASSERT_GE(acknowledged.size(), 400U);
  for (const TaskHandle& task : acknowledged) {
    const auto result = after.wait(task);
    ASSERT_TRUE(result) << task.request_id << ": " << result.error().message;
    EXPECT_EQ(result->outputs.size(), 1U);
  }
}

TEST_F(SystemTest, TellsHowManyTasksItTakesBack) {
  serve(config());
  Client caller = client();
  ASSERT_TRUE(caller.call("POST", "/admin/models/echo/pause"));
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(caller.submit("echo", "{}"));

  server_->kill();
  serve(config());

  EXPECT_NE(server_->log().find(R"("msg":"recovered tasks","tasks":"20")"), std::string::npos)
      << server_->log();
}

TEST_F(SystemTest, RunsATaskAgainThatWasRunningAtTheCrash) {
  // The first attempt says that it runs and then waits for ever; the second one finds the mark and
  // ends.
  const std::string script =
      "cat >/dev/null\n"
      "if [ -e started ]; then echo '{\"output\":{\"type\":\"text\",\"text\":\"second\"}}'; exit "
      "0; fi\n"
      "echo $$ >started\n"
      "echo '{\"progress\":0.5}'\n"
      "while :; do sleep 1; done\n";
  const std::string models = process_model("twice", script);
  serve(config(models));
  Client before = client();
  const auto task = before.submit("twice", "{}");
  ASSERT_TRUE(task);
  for (StatusReport report; !report.progress;) {
    auto asked = before.status(*task, false, seconds{5});
    ASSERT_TRUE(asked);
    report = *asked;
  }

  server_->kill();
  serve(config(models));

  const auto result = client().wait(*task);
  ASSERT_TRUE(result) << result.error().message;
  ASSERT_EQ(result->outputs.size(), 1U);
  EXPECT_EQ(result->outputs[0].text, "second");
}

TEST_F(SystemTest, EndsATaskWhoseEveryAttemptCrashedTheServer) {
  const std::string models = process_model(
      "stuck", "cat >/dev/null; echo '{\"progress\":0.1}'; while :; do sleep 1; done\n",
      "attempts = 1");
  serve(config(models));
  Client before = client();
  const auto task = before.submit("stuck", "{}");
  ASSERT_TRUE(task);
  wait_until_running(before, *task);

  server_->kill();
  serve(config(models));

  const auto result = client().wait(*task);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().fault, ClientFault::failed);
  EXPECT_EQ(result.error().error_type, "INTERNAL_SERVER_ERROR");
}

TEST_F(SystemTest, RemembersACancelThatWasAcceptedBeforeTheCrash) {
  // It ignores SIGTERM, so that the crash comes between the acceptance and the end.
  const std::string models = process_model(
      "stubborn",
      "trap '' TERM; cat >/dev/null; echo '{\"progress\":0.1}'; while :; do sleep 1; done\n",
      "grace = \"10m\"");
  serve(config(models));
  Client before = client();
  const auto task = before.submit("stubborn", "{}");
  ASSERT_TRUE(task);
  wait_until_running(before, *task);
  ASSERT_EQ(before.cancel(*task), CancelReply::requested);

  server_->kill();
  serve(config(models));

  const auto result = client().wait(*task);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().error_type, "CANCELED");
}

TEST_F(SystemTest, ReplaysAnIdempotentCreateAfterACrash) {
  serve(config());
  const auto first = client().submit("echo", R"({"n":1})", {.idempotency_key = "order-7"});
  ASSERT_TRUE(first);

  server_->kill();
  serve(config());

  const auto second = client().submit("echo", R"({"n":1})", {.idempotency_key = "order-7"});
  ASSERT_TRUE(second);
  EXPECT_EQ(second->request_id, first->request_id);
  const auto other = client().submit("echo", R"({"n":2})", {.idempotency_key = "order-7"});
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().http_status, 422);
}

TEST_F(SystemTest, RefusesASecondServerOnTheSameData) {
  serve(config());
  const std::filesystem::path other = folder_.path() / "other";
  std::filesystem::create_directories(other);
  std::string second = config();
  second.replace(second.find("sqlite:data"), 11, "sqlite:../data");
  TestServer rival(QUERN_BINARY, other, second);

  EXPECT_FALSE(rival.start());

  EXPECT_NE(rival.reap(), 0);
  EXPECT_NE(rival.log().find("in use"), std::string::npos) << rival.log();
  EXPECT_TRUE(client().submit("echo", "{}"));
}

// A supervisor may start it with its error output closed: the first file that it opens would be that.
TEST_F(SystemTest, PrintsIntoNoFileOfItsOwnWithoutStandardDescriptors) {
  const std::filesystem::path starter = folder_.path() / "start.sh";
  std::ofstream(starter) << "#!/bin/sh\nexec " << QUERN_BINARY << " \"$@\" <&- 2>&-\n";
  std::filesystem::permissions(starter, std::filesystem::perms::owner_all);
  server_ =
      std::make_unique<TestServer>(starter, folder_.path(), config(), "log_level = \"debug\"");
  ASSERT_TRUE(server_->start());
  ASSERT_TRUE(client().submit("echo", "{}"));

  for (const char* name : {"lock", "running"}) {
    std::ifstream file(folder_.path() / "data" / name);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(text.find("level"), std::string::npos) << name << ": " << text;
  }
}

// ---- backup

/// The lines that OPERATING.md gives for a backup of a server that runs.
std::string backup_lines() {
  std::ifstream file(QUERN_SOURCE "/docs/OPERATING.md");
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  constexpr std::string_view kBefore = "While it runs:\n\n```\n";
  const std::size_t begin = page.find(kBefore) + kBefore.size();
  return page.substr(begin, page.find("```", begin) - begin);
}

/// Those that have not ended, in the tables.
int count_tasks(const std::filesystem::path& database) {
  sqlite3* connection = nullptr;
  int tasks = -1;
  if (::sqlite3_open_v2(database.c_str(), &connection, SQLITE_OPEN_READONLY, nullptr) ==
      SQLITE_OK) {
    const auto take = [](void* to, int, char** values, char**) {
      *static_cast<int*>(to) = std::atoi(values[0]);
      return 0;
    };
    ::sqlite3_exec(connection, "SELECT count(*) FROM task", take, &tasks, nullptr);
  }
  ::sqlite3_close(connection);
  return tasks;
}

/// Writes into the tables about every millisecond, as a server does whose store takes as long to copy as this
/// test has no time for.
void write_often(std::stop_token stop, const std::filesystem::path& database) {
  sqlite3* connection = nullptr;
  ASSERT_EQ(::sqlite3_open(database.c_str(), &connection), SQLITE_OK);
  ::sqlite3_busy_timeout(connection, 10'000);
  const char* sql = "PRAGMA synchronous = OFF";
  while (!stop.stop_requested()) {
    EXPECT_EQ(::sqlite3_exec(connection, sql, nullptr, nullptr, nullptr), SQLITE_OK);
    sql = "UPDATE task SET submitted = submitted + 1 WHERE rowid = (SELECT min(rowid) FROM task)";
    ::poll(nullptr, 0, 1);
  }
  ::sqlite3_close(connection);
}

TEST_F(SystemTest, IsBackedUpWhileItRunsAndRestored) {
  const std::string models =
      process_model("makes",
                    "out=$(sed 's/.*\"output_dir\":\"\\([^\"]*\\)\".*/\\1/')\n"
                    "printf words > \"$out/a.txt\"\n"
                    "echo '{\"output\":{\"type\":\"file\",\"path\":\"a.txt\"}}'\n",
                    "aliases = [\"acme/makes\"]");
  serve(config(models));
  Client before = client();
  const auto made = before.submit("makes", "{}");
  ASSERT_TRUE(made && before.wait(*made));
  ASSERT_TRUE(before.call("POST", "/admin/models/echo/pause"));
  const std::string large = R"({"prompt":")" + std::string(2 << 20, 'x') + R"("})";
  std::vector<TaskHandle> waiting;
  for (int i = 0; i < 32; ++i) {
    const auto task = before.submit("echo", large);
    ASSERT_TRUE(task) << task.error().message;
    waiting.push_back(*task);
  }

  {
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(before.submit("echo", "{}"));
    // A copy need not have what came in the last moment before it.
    const std::filesystem::path tables = folder_.path() / "data" / "queue.sqlite";
    EXPECT_TRUE(eventually([&] { return count_tasks(tables) == 32 + 10; }));
    const std::jthread writer(write_often, tables);
    const std::string line = "cd '" + folder_.path().string() + "' && timeout 60 sh -e -c '" +
                             std::regex_replace(backup_lines(), std::regex("'"), "'\\''") + "'";
    EXPECT_EQ(std::system(line.c_str()), 0) << line;
  }
  EXPECT_EQ(server_->terminate(), 0);
  std::filesystem::rename(folder_.path() / "data", folder_.path() / "lost");
  const std::filesystem::path restored = folder_.path() / "data";
  std::filesystem::rename(folder_.path() / "backup", restored);
  EXPECT_EQ(std::filesystem::status(restored / "queue.sqlite").permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  for (const char* name : {"upload-secret", "aliases"})
    EXPECT_TRUE(std::filesystem::exists(restored / name)) << name;
  serve(config(models));

  Client after = client();
  for (const TaskHandle& task : waiting) {
    const auto status = after.status(task);
    ASSERT_TRUE(status) << task.request_id << ": " << status.error().message;
    EXPECT_EQ(status->status, TaskStatus::in_queue);
  }
  const auto result = after.result(*made);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(after.download(result->outputs.at(0), folder_.path() / "a.txt"), 5U);
}

// ---- signals during the start

/// A server that is held up in its start, after the recovery, by a file that it reads.
class HeldStart : public SystemTest {
 protected:
  void start_and_hold() {
    const std::filesystem::path fifo = folder_.path() / "data" / "aliases";
    std::filesystem::create_directories(fifo.parent_path());
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    server_ = std::make_unique<TestServer>(QUERN_BINARY, folder_.path(), config());
    EXPECT_FALSE(server_->start(seconds{0})) << "nobody waits for it here";
    // Nobody can open it for writing before the server has opened it for reading.
    EXPECT_TRUE(eventually([&] {
      end_ = ::open(fifo.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
      return end_ >= 0;
    })) << server_->log();
  }
  void let_go() {
    ::close(end_);
    end_ = -1;
  }
  ~HeldStart() override {
    if (end_ >= 0) ::close(end_);
  }

 private:
  int end_ = -1;
};

TEST_F(HeldStart, StopsAtOnceAtASecondSignal) {
  start_and_hold();

  server_->signal(SIGTERM);
  server_->signal(SIGINT);

  EXPECT_TRUE(eventually([&] { return !server_->is_running(); }));
  EXPECT_EQ(server_->reap(), 1);
}

TEST_F(HeldStart, DrainsAtTheFirstSignalOnceItServes) {
  start_and_hold();

  server_->signal(SIGHUP);
  server_->signal(SIGTERM);
  let_go();

  EXPECT_EQ(server_->reap(), 0);
  EXPECT_NE(server_->log().find(R"("msg":"stopped"})"), std::string::npos) << server_->log();
}

// ---- the guard

/// A line of /proc/PID/status in kB.
std::uint64_t memory_of(pid_t pid, std::string_view name) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name)) return std::stoull(line.substr(name.size() + 1));
  }
  return 0;
}

pid_t guard_of(pid_t server) {
  const std::string id = std::to_string(server);
  std::ifstream children("/proc/" + id + "/task/" + id + "/children");
  pid_t child = 0;
  children >> child;
  return child;
}

/// Copies of the one task that the store has.
void multiply_task(const std::filesystem::path& database, int times) {
  sqlite3* connection = nullptr;
  ASSERT_EQ(::sqlite3_open(database.c_str(), &connection), SQLITE_OK);
  const std::string sql =
      "WITH RECURSIVE more(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM more WHERE n < " +
      std::to_string(times) +
      ") INSERT INTO task (seq, chance, key, model, state, flags, attempts, rank, token, submitted)"
      " SELECT seq + n, chance, key, model, state, flags, attempts, rank, token, submitted"
      " FROM task, more";
  EXPECT_EQ(::sqlite3_exec(connection, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
  ::sqlite3_close(connection);
}

TEST_F(SystemTest, KeepsItsFilesToItselfAndGivesItsRunnersTheUmaskThatItWasGiven) {
  const std::string model =
      process_model("mask", "echo \"{\\\"metadata\\\":{\\\"umask\\\":\\\"$(umask)\\\"}}\"\n");
  const mode_t ours = ::umask(027);
  serve(config(model));
  ::umask(ours);
  Client caller = client();

  const auto task = caller.submit("mask", "{}");
  ASSERT_TRUE(task);
  const auto result = caller.wait(*task);

  ASSERT_TRUE(result) << result.error().message;
  EXPECT_NE(result->body.find(R"("umask":"0027")"), std::string::npos) << result->body;
  const auto mode = std::filesystem::status(folder_.path() / "data" / "queue.sqlite").permissions();
  EXPECT_EQ(mode, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(SystemTest, GuardsItsRunnersWithoutACopyOfTheQueue) {
  serve(config());
  {
    Client admin = client();
    ASSERT_TRUE(admin.call("POST", "/admin/models/echo/pause"));
    ASSERT_TRUE(admin.submit("echo", "{}"));
  }
  const std::uint64_t before = memory_of(guard_of(server_->pid()), "RssAnon:");
  ASSERT_EQ(server_->terminate(), 0);
  multiply_task(folder_.path() / "data" / "queue.sqlite", 200'000);

  serve(config());

  EXPECT_GT(memory_of(server_->pid(), "RssAnon:"), before + 20'000) << "the queue, in kB";
  const std::uint64_t after = memory_of(guard_of(server_->pid()), "RssAnon:");
  EXPECT_GT(after, 0U);
  EXPECT_LT(after, before + 5'000);
}

}  // namespace
}  // namespace quern
