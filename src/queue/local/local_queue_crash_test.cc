// What the queue makes of what a crash left in its files.

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "queue/local/local_queue_fixture.h"
#include "testing/log_content.h"

namespace quern {
namespace {

/// A copy of a store's files, as a crash would have left them, and the queue that opens it.
class AfterCrash {
 public:
  explicit AfterCrash(const std::filesystem::path& files) { copy_store(files, folder_.path()); }

  [[nodiscard]] std::filesystem::path log() const { return folder_.path() / "redo-a"; }
  LocalQueue& open(Clock& clock) {
    auto opened = LocalQueue::open({.folder = folder_.path()}, clock, random_, metrics_);
    EXPECT_TRUE(opened) << opened.error().message;
    queue_ = std::move(opened).value();
    queue_->start();
    return *queue_;
  }

 private:
  TempFolder folder_;
  SystemRandom random_;
  Metrics metrics_;
  std::unique_ptr<LocalQueue> queue_;
};

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
    SCOPED_TRACE(cut);
    AfterCrash crashed(whole.path());
    std::filesystem::resize_file(crashed.log(), cut);
    LocalQueue& again = crashed.open(harness_.clock());
    configure(again);

    std::size_t expected = 0;
    for (const Acknowledged& task : tasks) {
      if (task.log_bytes > cut) continue;
      ++expected;
      EXPECT_TRUE(find(again, task.id));
    }
    const std::vector<Claim> claims = claim(again, 100);
    EXPECT_GE(claims.size(), expected);
    for (std::size_t i = 0; i < claims.size(); ++i) {
      EXPECT_EQ(claims[i].input, R"({"n":)" + std::to_string(i) + "}");
    }
  }
}

TEST_F(LocalQueueTest, IgnoresGarbageAfterTheLastTransaction) {
  hold_tables();
  const TaskId id = submit(queue())->id;
  AfterCrash crashed(harness_.folder());
  gate_.open();
  const std::uintmax_t end = redo_content_bytes(crashed.log());
  {
    std::fstream log(crashed.log(), std::ios::binary | std::ios::in | std::ios::out);
    log.seekp(static_cast<std::streamoff>(end));
    log << std::string(10'000, '\x5a');
  }

  LocalQueue& again = crashed.open(harness_.clock());

  EXPECT_TRUE(find(again, id));
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
  AfterCrash crashed(harness_.folder());
  gate_.open();

  LocalQueue& again = crashed.open(harness_.clock());

  EXPECT_EQ(find(again, id)->state, TaskState::succeeded);
}

}  // namespace
}  // namespace quern
