#include "server/janitor.h"

#include <gtest/gtest.h>

#include <condition_variable>

#include "testing/manual_clock.h"
#include "testing/seeded_random.h"
#include "testing/temp_folder.h"

namespace quern {
namespace {

using std::chrono::milliseconds;

class JanitorTest : public ::testing::Test {
 protected:
  JanitorTest() : store_(*ArtifactStore::open(folder_.path(), random_)) {}

  Output upload(const std::string& name) {
    auto started = store_->start_upload(name, 1000);
    EXPECT_TRUE((*started)->write("text"));
    return *(*started)->finish();
  }
  bool exists(const Output& output) {
    return store_->find_path(output.file_key, output.file_name).has_value();
  }
  // The janitor works on a thread of its own: looks until it has, for ten seconds at the most.
  bool is_gone_soon(const Output& output) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    while (exists(output)) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::yield();
    }
    return true;
  }

  TempFolder folder_;
  SeededRandom random_{1};
  SystemClock clock_;
  std::unique_ptr<ArtifactStore> store_;
};

TEST_F(JanitorTest, RemovesTheFilesItIsToldOfAndNoOthers) {
  const Output expired = upload("a.txt");
  const Output kept = upload("b.txt");
  Janitor janitor(*store_, clock_, {});
  janitor.start();

  janitor.remove(std::vector{expired});

  EXPECT_TRUE(is_gone_soon(expired));
  EXPECT_TRUE(exists(kept));
}

TEST_F(JanitorTest, RemovesUploadsWhoseTimeIsOver) {
  const Output old = upload("a.txt");
  ManualClock later;
  later.jump_wall(clock_.now().wall - later.now().wall + std::chrono::hours{25});
  Janitor janitor(*store_, later,
                  {.uploads_ttl = std::chrono::hours{24}, .sweep_interval = milliseconds{1}});

  janitor.start();

  EXPECT_TRUE(is_gone_soon(old));
}

TEST_F(JanitorTest, KeepsEveryFileWhenTheWallClockJumpsForward) {
  ManualClock clock;
  clock.jump_wall(clock_.now().wall - clock.now().wall);
  const Output kept = upload("a.txt");
  const Output told = upload("b.txt");
  const Output late = upload("c.txt");
  Janitor janitor(*store_, clock, {.sweep_interval = milliseconds{1}});

  clock.jump_wall(std::chrono::hours{30});
  janitor.start();
  janitor.remove(std::vector{told});
  ASSERT_TRUE(is_gone_soon(told));
  janitor.remove(std::vector{late});  // which it turns to after its first sweep
  ASSERT_TRUE(is_gone_soon(late));

  EXPECT_TRUE(exists(kept));
}

TEST_F(JanitorTest, StopsWithoutWaitingForItsNextSweep) {
  Janitor janitor(*store_, clock_, {.sweep_interval = std::chrono::hours{1}});
  janitor.start();

  janitor.stop();
  janitor.stop();
}

}  // namespace
}  // namespace quern
