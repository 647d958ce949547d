#include "base/paced_wall.h"

#include <gtest/gtest.h>

#include "testing/manual_clock.h"

namespace quern {
namespace {

using std::chrono::hours;

class PacedWallTest : public ::testing::Test {
 protected:
  /// How far it is behind the wall, looking once an hour for `time`.
  hours behind_after(hours time) {
    for (; time > hours{0}; time -= hours{1}) {
      clock_.advance(hours{1});
      paced_.at(clock_.now());
    }
    return std::chrono::duration_cast<hours>(clock_.now().wall - paced_.at(clock_.now()));
  }

  ManualClock clock_;
  PacedWall paced_{clock_.now()};
};

TEST_F(PacedWallTest, FollowsAJumpForwardTwiceAsFastAsTimePasses) {
  clock_.jump_wall(hours{10});

  EXPECT_EQ(behind_after(hours{4}), hours{6});
  EXPECT_EQ(behind_after(hours{6}), hours{0});
}

TEST_F(PacedWallTest, BelievesAWallThatIsYearsAheadOnceItHasBeenSoForADay) {
  clock_.jump_wall(hours{24 * 365 * 56});

  EXPECT_GT(behind_after(hours{23}), hours{24 * 365 * 55});
  EXPECT_EQ(behind_after(hours{1}), hours{0});
}

TEST_F(PacedWallTest, DoubtsEachJumpForADay) {
  behind_after(hours{100});
  clock_.jump_wall(hours{24 * 365});

  EXPECT_GT(behind_after(hours{23}), hours{24 * 300});
}

TEST_F(PacedWallTest, FollowsAJumpBackAtOnce) {
  clock_.jump_wall(-hours{24 * 365});

  EXPECT_EQ(behind_after(hours{0}), hours{0});
}

}  // namespace
}  // namespace quern
