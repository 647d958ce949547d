#include "task/fair_rank.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

namespace quern {
namespace {

/// Keys that always have tasks waiting, served one task at a time.
class Line {
 public:
  explicit Line(std::vector<double> weights)
      : weights_(std::move(weights)), heads_(weights_.size()), served_(weights_.size()) {}

  void claim() {
    const auto first = static_cast<std::size_t>(std::ranges::min_element(heads_) - heads_.begin());
    const double finish = finish_tag(heads_[first], weights_[first]);
    clock_.on_claimed(heads_[first], finish);
    heads_[first] = clock_.rank(finish);
    ++served_[first];
  }
  /// What the key was given, as its weight counts it.
  double service(std::size_t key) const { return served_[key] * rank_share(weights_[key]); }
  /// The rank of the key's next task.
  double head(std::size_t key) const { return heads_[key]; }
  const FairClock& clock() const { return clock_; }

 private:
  std::vector<double> weights_;
  std::vector<double> heads_;
  std::vector<double> served_;
  FairClock clock_;
};

TEST(FairRank, PutsANewKeyBeforeTheBacklogOfAnother) {
  FairClock clock;
  const double running = clock.rank(0);
  clock.on_claimed(running, finish_tag(running, 1));
  const double next = clock.rank(finish_tag(running, 1));

  EXPECT_LT(clock.rank(0), next);
  EXPECT_EQ(clock.rank(0), clock.rank(0)) << "the next newcomer ranks the same, and waits for it";
}

TEST(FairRank, GivesNoCreditForIdleTime) {
  Line busy({1});
  for (int i = 0; i < 500; ++i) busy.claim();

  EXPECT_EQ(busy.clock().rank(3), busy.clock().now());
}

TEST(FairRank, OwesNothingForTheUseOfAnIdleModel) {
  FairClock clock;
  const double alone = finish_tag(clock.rank(0), 0.01);
  clock.on_claimed(clock.rank(0), alone);
  clock.on_idle();

  EXPECT_EQ(clock.rank(alone), clock.rank(0));
}

// The bound of the paper's theorem 1.
TEST(FairRank, ServesKeysInProportionToTheirWeights) {
  const std::vector<double> weights = {1, 2, 0.01, 7.3};
  Line line(weights);
  for (int claims = 1; claims <= 5'000; ++claims) {
    line.claim();
    for (std::size_t a = 0; a < weights.size(); ++a) {
      for (std::size_t b = 0; b < a; ++b) {
        const double apart = std::abs(line.service(a) - line.service(b));
        ASSERT_LE(apart, rank_share(weights[a]) + rank_share(weights[b]) + 1e-6)
            << a << " and " << b << " after " << claims << " claims";
      }
    }
  }
  EXPECT_GT(line.service(2), 0) << "the lightest key has its turn";
}

TEST(FairRank, NeverMovesBack) {
  FairClock clock;
  clock.on_claimed(7, 8);
  clock.on_claimed(3, 4);
  clock.move_to(2);
  EXPECT_EQ(clock.now(), 7);

  clock.on_idle();
  EXPECT_EQ(clock.now(), 8);
}

TEST(FairRank, AscendsForEveryWeightThatSomeoneMayWrite) {
  const double weights[] = {0,
                            -1,
                            1e-300,
                            1e300,
                            std::numeric_limits<double>::infinity(),
                            std::numeric_limits<double>::quiet_NaN()};
  for (const double weight : weights) {
    const double finish = finish_tag(1e9, weight);

    EXPECT_GT(finish, 1e9) << weight;
    EXPECT_TRUE(std::isfinite(finish)) << weight;
  }
}

TEST(FairRank, TellsTheVirtualTimeByWhatWaitsWithinOneShare) {
  const std::vector<double> weights = {1, 2, 0.01, 7.3};
  Line line(weights);
  for (int claims = 0; claims < 5'000; ++claims) {
    line.claim();
    VirtualTimeEstimate estimate;
    for (std::size_t key = 0; key < weights.size(); ++key) {
      estimate.add_first(line.head(key), weights[key], false);
    }
    ASSERT_LE(estimate.value(), line.clock().now() + 1e-6);
    ASSERT_GE(estimate.value(), line.clock().now() - rank_share(7.3) - 1e-6);
  }
}

TEST(FairRank, IsNotMisledByKeysThatWereHeldBackOrHadTasksCanceled) {
  VirtualTimeEstimate estimate;
  estimate.add_first(20'000, 1, false);
  estimate.add_first(100, 1, true);  // at its limit of running tasks for a long time
  EXPECT_EQ(estimate.value(), 19'999);

  estimate.add_first(90'000, 1, false);  // those before it were canceled
  EXPECT_EQ(estimate.value(), 20'000);
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
