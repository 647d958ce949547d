// What the queue makes of what a crash left in its files.

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "queue/local/local_queue_fixture.h"
#include "testing/log_content.h"

namespace quern {
namespace {

TEST_F(LocalQueueTest, KeepsEveryAcknowledgedTaskAfterATornTail) {
  struct Acknowledged {
    TaskId id;
    std::uintmax_t log_bytes;  // of the redo log when the answer came
  };
  std::vector<Acknowledged> tasks;
  const std::filesystem::path log = harness_.folder() / "redo-a";
  hold_tables();
  for (int i = 0; i < 40; ++i) {
    const TaskId id = submit(queue(), R"({"n":)" + std::to_string(i) + "}")->id;
    tasks.push_back({id, redo_content_bytes(log)});
  }
  const TempFolder whole;
  copy_store(harness_.folder(), whole.path());
  gate_.open();
  const std::uintmax_t end = tasks.back().log_bytes;
  const std::uintmax_t begin = tasks.front().log_bytes;

  for (std::uintmax_t cut = begin; cut <= end; cut += (end - begin) / 23 + 7) {
    const TempFolder crashed;
    copy_store(whole.path(), crashed.path());
    std::filesystem::resize_file(crashed.path() / "redo-a", cut);
    SystemRandom random;
    Metrics metrics;
    Result<std::unique_ptr<LocalQueue>> opened =
        LocalQueue::open({.folder = crashed.path()}, harness_.clock(), random, metrics);
    ASSERT_TRUE(opened) << "cut at " << cut << ": " << opened.error().message;
    (*opened)->start();
    configure(**opened);

    std::size_t expected = 0;
    for (const Acknowledged& task : tasks) {
      if (task.log_bytes > cut) continue;
      ++expected;
      EXPECT_TRUE(find(**opened, task.id)) << "cut at " << cut;
    }
    const std::vector<Claim> claims = claim(**opened, 100);
    EXPECT_GE(claims.size(), expected);
    for (std::size_t i = 0; i < claims.size(); ++i) {
      EXPECT_EQ(claims[i].input, R"({"n":)" + std::to_string(i) + "}");
    }
  }
}

TEST_F(LocalQueueTest, IgnoresGarbageAfterTheLastTransaction) {
  hold_tables();
  const TaskId id = submit(queue())->id;
  const TempFolder crashed;
  copy_store(harness_.folder(), crashed.path());
  gate_.open();
  const std::filesystem::path path = crashed.path() / "redo-a";
  const std::uintmax_t end = redo_content_bytes(path);
  {
    std::fstream log(path, std::ios::binary | std::ios::in | std::ios::out);
    log.seekp(static_cast<std::streamoff>(end));
    log << std::string(10'000, '\x5a');
  }
  SystemRandom random;
  Metrics metrics;

  Result<std::unique_ptr<LocalQueue>> opened =
      LocalQueue::open({.folder = crashed.path()}, harness_.clock(), random, metrics);

  ASSERT_TRUE(opened);
  (*opened)->start();
  EXPECT_TRUE(find(**opened, id));
}

TEST_F(LocalQueueTest, NeverShowsAnEndThatACrashCouldTakeBack) {
  // Whoever sees a task ended finds it ended in a copy of the files made after the look.
  hold_tables();
  const TaskId id = submit(queue())->id;
  const Lease lease = claim(queue()).at(0).lease;
  std::jthread runner([&] { EXPECT_EQ(finish(queue(), lease), TaskState::succeeded); });
  const auto state = [&] {
    return ask<TaskView>([&](auto reply) { queue().find({.ref = {.id = id}}, std::move(reply)); })
        ->state;
  };
  while (state() != TaskState::succeeded) {
  }
  const TempFolder crashed;
  copy_store(harness_.folder(), crashed.path());
  gate_.open();
  SystemRandom random;
  Metrics metrics;

  Result<std::unique_ptr<LocalQueue>> opened =
      LocalQueue::open({.folder = crashed.path()}, harness_.clock(), random, metrics);

  ASSERT_TRUE(opened);
  (*opened)->start();
  EXPECT_EQ(find(**opened, id)->state, TaskState::succeeded);
}

// ---- many at once --------------------------------------------------------------------------------

}  // namespace
}  // namespace quern
