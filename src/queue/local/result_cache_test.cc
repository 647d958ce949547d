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
