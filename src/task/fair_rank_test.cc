#include "task/fair_rank.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace quern {
namespace {

TEST(FairRank, PutsANewKeyBeforeTheBacklogOfAnother) {
  double last = 0;
  for (int i = 0; i < 100'000; ++i) last = fair_rank(0, last, 1);

  EXPECT_EQ(last, 100'000);
  EXPECT_EQ(fair_rank(0, 0, 1), 1);
}

TEST(FairRank, GivesNoCreditForIdleTime) { EXPECT_EQ(fair_rank(500, 3, 1), 501); }

TEST(FairRank, ServesKeysInProportionToTheirWeights) {
  struct Entry {
    double rank;
    int key;
  };
  std::vector<Entry> queue;
  double heavy = 0;
  double light = 0;
  for (int i = 0; i < 1'000; ++i) {
    queue.push_back({heavy = fair_rank(0, heavy, 3), 0});
    queue.push_back({light = fair_rank(0, light, 1), 1});
  }
  std::ranges::stable_sort(queue, {}, &Entry::rank);

  const auto of_heavy =
      std::count_if(queue.begin(), queue.begin() + 400, [](const Entry& e) { return e.key == 0; });

  EXPECT_NEAR(static_cast<double>(of_heavy), 300, 2);
}

TEST(FairRank, AscendsForEveryWeightThatSomeoneMayWrite) {
  const double weights[] = {0,
                            -1,
                            1e-300,
                            1e300,
                            std::numeric_limits<double>::infinity(),
                            std::numeric_limits<double>::quiet_NaN()};
  for (const double weight : weights) {
    const double rank = fair_rank(1e9, 1e9, weight);

    EXPECT_GT(rank, 1e9) << weight;
    EXPECT_TRUE(std::isfinite(rank)) << weight;
  }
}

TEST(FairRank, ServesLowPriorityFirstEveryTenthClaim) {
  for (std::uint64_t claims = 0; claims < 100; ++claims) {
    EXPECT_EQ(first_served(claims), (claims + 1) % 10 == 0 ? Priority::low : Priority::normal);
  }
}

TEST(FairRank, BreaksTiesByTheOlderId) {
  EXPECT_TRUE(is_claimed_before(1, {5, 0}, 2, {4, 0}));
  EXPECT_TRUE(is_claimed_before(1, {4, 0}, 1, {5, 0}));
  EXPECT_FALSE(is_claimed_before(1, {5, 0}, 1, {4, 0}));
  EXPECT_FALSE(is_claimed_before(1, {4, 0}, 1, {4, 0}));
}

}  // namespace
}  // namespace quern
