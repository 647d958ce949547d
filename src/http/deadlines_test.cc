#include "http/deadlines.h"

#include <gtest/gtest.h>

#include <vector>

namespace quern::http {
namespace {

using std::chrono::milliseconds;

struct Entry : DeadlineEntry {};

/// idle takes 100 ms, head 10 ms, anything else a second.
Deadlines make_deadlines() {
  Deadlines::Durations durations;
  durations.fill(milliseconds(1'000));
  durations[static_cast<std::size_t>(Deadline::idle)] = milliseconds(100);
  durations[static_cast<std::size_t>(Deadline::head)] = milliseconds(10);
  return Deadlines(durations);
}

CoarseTime at(int ms) { return CoarseTime(milliseconds(ms)); }

std::vector<DeadlineEntry*> expire(Deadlines& deadlines, int ms) {
  std::vector<DeadlineEntry*> expired;
  deadlines.expire(at(ms), [&](DeadlineEntry& entry, Deadline) { expired.push_back(&entry); });
  return expired;
}

TEST(Deadlines, ExpireEachKindAfterItsOwnTime) {
  Deadlines deadlines = make_deadlines();
  Entry idle;
  Entry head;
  deadlines.arm(idle, Deadline::idle, at(0));
  deadlines.arm(head, Deadline::head, at(50));

  EXPECT_TRUE(expire(deadlines, 59).empty());
  EXPECT_EQ(expire(deadlines, 60), (std::vector<DeadlineEntry*>{&head}));
  EXPECT_EQ(expire(deadlines, 100), (std::vector<DeadlineEntry*>{&idle}));
  EXPECT_TRUE(deadlines.empty());
}

TEST(Deadlines, AreMovedByArmingAgainAndEndedByDisarming) {
  Deadlines deadlines = make_deadlines();
  Entry moved;
  Entry ended;
  deadlines.arm(moved, Deadline::head, at(0));
  deadlines.arm(ended, Deadline::head, at(0));

  deadlines.arm(moved, Deadline::idle, at(5));
  ended.disarm();

  EXPECT_TRUE(moved.is_armed(Deadline::idle));
  EXPECT_FALSE(ended.is_armed());
  EXPECT_TRUE(expire(deadlines, 104).empty());
  EXPECT_EQ(expire(deadlines, 105), (std::vector<DeadlineEntry*>{&moved}));
}

TEST(Deadlines, ForgetAnEntryThatEnds) {
  Deadlines deadlines = make_deadlines();
  {
    Entry gone;
    deadlines.arm(gone, Deadline::idle, at(0));
    EXPECT_FALSE(deadlines.empty());
  }
  EXPECT_TRUE(deadlines.empty());
  EXPECT_TRUE(expire(deadlines, 1'000).empty());
}

TEST(Deadlines, MayBeChangedByWhatExpires) {
  Deadlines deadlines = make_deadlines();
  Entry first;
  Entry second;
  deadlines.arm(first, Deadline::idle, at(0));
  deadlines.arm(second, Deadline::idle, at(0));

  int expired = 0;
  deadlines.expire(at(100), [&](DeadlineEntry& entry, Deadline kind) {
    ++expired;
    deadlines.arm(entry, kind, at(100));
    second.disarm();
  });

  EXPECT_EQ(expired, 1);
  EXPECT_TRUE(first.is_armed(Deadline::idle));
}

}  // namespace
}  // namespace quern::http
