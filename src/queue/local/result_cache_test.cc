#include "queue/local/result_cache.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>

#include "queue/local/journal_rows.h"

namespace quern {
namespace {

TaskId make_id(std::int64_t sequence) { return make_task_id(sequence, 1); }

EndedView make_view(std::int64_t sequence, std::size_t bytes = 10) {
  EndedView view;
  view.head.id = make_id(sequence);
  view.metadata_json = std::string(bytes, 'x');
  return view;
}

TEST(ResultCache, DropsTheLeastRecentlyUsed) {
  ResultCache cache(16 * 100'000);  // shards are by sequence modulo 16: 100,000 bytes each
  for (std::int64_t i = 1; i <= 20; ++i) {
    cache.put(make_view(16 * i, 10'000));
    EXPECT_TRUE(cache.find(make_id(16)));  // in use all the time
  }

  EXPECT_TRUE(cache.find(make_id(16)));
  EXPECT_FALSE(cache.find(make_id(32)));
  EXPECT_TRUE(cache.find(make_id(320)));
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
    cache.put(make_view(16 * i, 10'000));
    cache.put(make_view(16 * i, 100));
    cache.put(make_view(16 * 100, 10'000));
    cache.erase(make_id(16 * 100));
  }

  for (std::int64_t i = 1; i <= 40; ++i) EXPECT_TRUE(cache.find(make_id(16 * i))) << i;
}

TEST(ResultCache, TakesNoResultThatWouldPushOutMany) {
  ResultCache cache(16 * 100'000);
  cache.put(make_view(16));
  cache.put(make_view(32));

  cache.put(make_view(32, 20'000));

  EXPECT_TRUE(cache.find(make_id(16)));
  EXPECT_FALSE(cache.find(make_id(32)));  // what was there before is not true any more
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
