#include "queue/local/result_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "queue/local/journal_rows.h"
#include "testing/seeded_random.h"

namespace quern {
namespace {

// All of one chance, and so of one shard.
TaskId make_id(std::int64_t sequence) { return make_task_id(sequence, 1); }

EndedView make_view(const TaskId& id, std::size_t bytes = 10) {
  EndedView view;
  view.head.id = id;
  view.metadata_json = std::string(bytes, 'x');
  return view;
}

EndedView make_view(std::int64_t sequence, std::size_t bytes = 10) {
  return make_view(make_id(sequence), bytes);
}

TEST(ResultCache, DropsTheLeastRecentlyUsed) {
  ResultCache cache(16 * 100'000);  // 100,000 bytes a shard
  for (std::int64_t i = 1; i <= 20; ++i) {
    cache.put(make_view(i, 10'000));
    EXPECT_TRUE(cache.find(make_id(1)));  // in use all the time
  }

  EXPECT_TRUE(cache.find(make_id(1)));
  EXPECT_FALSE(cache.find(make_id(2)));
  EXPECT_TRUE(cache.find(make_id(20)));
}

TEST(ResultCache, KeepsAboutAsMuchAsItMayOfTasksThatCameOneByOne) {
  ResultCache cache(16 * 100'000);
  SeededRandom random(1);
  TaskIdGenerator generator(random, 0);
  std::vector<TaskId> ids;
  for (int i = 0; i < 100; ++i) {
    ids.push_back(generator.next(WallTime{std::chrono::milliseconds{i}}));
    cache.put(make_view(ids.back(), 9'500));  // with what belongs to it about 10,000
  }

  const auto found =
      std::ranges::count_if(ids, [&](const TaskId& id) { return cache.find(id) != nullptr; });

  EXPECT_GE(found, 80);
}

TEST(ResultCache, FindsByTheWholeId) {
  ResultCache cache(1'000'000);
  cache.put(make_view(1));

  EXPECT_TRUE(cache.find(make_task_id(1, 1)));
  EXPECT_FALSE(cache.find(make_task_id(1, 2)));
}

TEST(ResultCache, GivesRoomBackForViewsThatAreGone) {
  ResultCache cache(16 * 100'000);
  // One after the other they take far more than there is, but at the end little.
  for (std::int64_t i = 1; i <= 40; ++i) {
    cache.put(make_view(i, 10'000));
    cache.put(make_view(i, 100));
    cache.put(make_view(100, 10'000));
    cache.erase(make_id(100));
  }

  for (std::int64_t i = 1; i <= 40; ++i) EXPECT_TRUE(cache.find(make_id(i))) << i;
}

TEST(ResultCache, TakesNoResultThatWouldPushOutMany) {
  ResultCache cache(16 * 100'000);
  cache.put(make_view(1));
  cache.put(make_view(2));

  cache.put(make_view(2, 20'000));

  EXPECT_TRUE(cache.find(make_id(1)));
  EXPECT_FALSE(cache.find(make_id(2)));  // what was there before is not true any more
}

TEST(ResultCache, TakesNoReadThatAnEraseMayHaveOvertaken) {
  ResultCache cache(1'000'000);
  const ResultCache::Epoch before = cache.epoch(make_id(1));
  cache.erase(make_id(1));

  cache.put_read(std::make_shared<EndedView>(make_view(1)), before);
  EXPECT_FALSE(cache.find(make_id(1)));

  cache.put_read(std::make_shared<EndedView>(make_view(1)), cache.epoch(make_id(1)));
  EXPECT_TRUE(cache.find(make_id(1)));
}

}  // namespace
}  // namespace quern
