#include "api/sent_logs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "queue/dropped_note.h"

namespace quern::api {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;
using Messages = std::vector<std::string>;

LogEntry line(std::uint64_t number) {
  return {.message = "l" + std::to_string(number), .number = number};
}

LogEntry own(const std::string& message, seconds time = seconds{1}) {
  return {.time = WallTime{time}, .from_quern = true, .message = message};
}

std::string note(std::uint64_t count) { return dropped_note(count, {}).message; }

class SentLogsTest : public testing::Test {
 protected:
  /// What is sent of a task with these logs, after all before.
  Messages take(std::vector<LogEntry> logs, std::uint64_t dropped = 0) {
    TaskView view;
    view.logs = std::move(logs);
    view.logs_dropped = dropped;
    if (dropped > 0) view.logs.insert(view.logs.begin(), dropped_note(dropped, {}));
    sent_.take_unsent(view);
    Messages messages;
    for (const LogEntry& entry : view.logs) messages.push_back(entry.message);
    return messages;
  }

  SentLogs sent_;
};

TEST_F(SentLogsTest, SendsEachEntryOnce) {
  EXPECT_THAT(take({own("started"), line(0)}), ElementsAre("started", "l0"));
  EXPECT_THAT(take({own("started"), line(0)}), IsEmpty());
  EXPECT_THAT(take({own("started"), line(0), line(1), own("ended")}), ElementsAre("l1", "ended"));
}

TEST_F(SentLogsTest, SendsAnOwnLineOnceThoughLinesAfterItWereDropped) {
  EXPECT_THAT(take({own("started")}), ElementsAre("started"));
  EXPECT_THAT(take({own("started"), line(500), line(501), own("ended")}, 500),
              ElementsAre(note(500), "l500", "l501", "ended"));
}

TEST_F(SentLogsTest, SaysNothingOfDroppedLinesThatWereSent) {
  take({own("started"), line(0), line(1), line(2)});
  EXPECT_THAT(take({own("started"), line(2), line(3)}, 2), ElementsAre("l3"));
  EXPECT_THAT(take({own("started"), line(4)}, 4), ElementsAre("l4"));
}

TEST_F(SentLogsTest, CountsOnlyTheDroppedLinesThatWereNotSent) {
  take({own("started"), line(0), line(1), line(2)});
  EXPECT_THAT(take({own("started"), line(10), line(11)}, 10), ElementsAre(note(7), "l10", "l11"));
  EXPECT_THAT(take({own("started"), line(11), line(12)}, 11), ElementsAre("l12"));
  EXPECT_THAT(take({own("started"), line(14)}, 14), ElementsAre(note(1), "l14"));
}

TEST_F(SentLogsTest, SendsARunnersLineThatCameLateBeforeAnOwnLine) {
  take({own("one started"), line(0), own("one failed"), own("two started")});
  EXPECT_THAT(
      take({own("one started"), line(0), line(1), own("one failed"), own("two started"), line(2)}),
      ElementsAre("l1", "l2"));
}

TEST_F(SentLogsTest, TellsRunnersLinesThatAreEqualApart) {
  std::vector<LogEntry> same(5, {.from_quern = true, .message = "a line was cut"});
  for (std::size_t i = 0; i < same.size(); ++i) same[i].number = i;
  EXPECT_EQ(take({same[0], same[1]}).size(), 2U);
  EXPECT_EQ(take({same[2], same[3], same[4]}, 2).size(), 3U);
}

TEST_F(SentLogsTest, SendsOwnLinesOfNewAttemptsThoughTheOldestAreForgotten) {
  take({own("a"), own("b"), own("c")});
  EXPECT_THAT(take({own("c"), own("d"), own("e")}), ElementsAre("d", "e"));
  EXPECT_THAT(take({own("f"), own("g")}), ElementsAre("f", "g"));
}

TEST_F(SentLogsTest, SendsAnOwnLineOnceThoughItWasAwayForAWhile) {
  take({own("one started"), line(0)});
  EXPECT_THAT(take({line(0), own("two started")}), ElementsAre("two started"));
  EXPECT_THAT(take({own("one started"), line(0), own("one failed"), own("two started")}),
              ElementsAre("one failed"));
}

TEST_F(SentLogsTest, TellsAttemptsOfOneNumberApartByTheirTime) {
  take({own("attempt 1 started", seconds{1})});
  EXPECT_EQ(
      take({own("attempt 1 started", seconds{1}), own("attempt 1 started", seconds{2})}).size(),
      1U);
}

// A task keeps what attempts said in `kept` lines at most, and its own lines, of which the oldest
// may go too. It is looked at now and then.
TEST_F(SentLogsTest, SendsAndCountsEverythingInAnyMixture) {
  for (const std::uint64_t kept : {1U, 3U, 10U}) {
    for (const int look_every : {1, 2, 8, 40}) {
      SCOPED_TRACE(std::to_string(kept) + ", " + std::to_string(look_every));
      sent_ = {};
      std::vector<LogEntry> all;
      std::uint64_t lines = 0;
      std::uint64_t owns = 0;
      Messages seen;
      std::uint64_t told_dropped = 0;
      for (int step = 1; step <= 400; ++step) {
        if (step % 5 == 0) {
          all.push_back(own("own " + std::to_string(owns), seconds(owns)));
          ++owns;
        } else {
          all.push_back(line(lines++));
        }
        if (step % look_every != 0) continue;
        const std::uint64_t dropped = lines > kept ? lines - kept : 0;
        std::vector<LogEntry> logs;
        for (const LogEntry& entry : all) {
          if (!entry.number || *entry.number >= dropped) logs.push_back(entry);
        }
        for (std::string& message : take(std::move(logs), dropped)) {
          if (message.find("dropped") != std::string::npos) {
            told_dropped += std::stoull(message);
          } else {
            seen.push_back(std::move(message));
          }
        }
      }
      EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), seen.size());
      EXPECT_EQ(seen.size() + told_dropped, lines + owns);
    }
  }
}

}  // namespace
}  // namespace quern::api
