#include "server/model_gauges.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

namespace quern {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(ModelGauges, EndWithTheirModel) {
  Metrics metrics;
  ModelGauges gauges(metrics);
  const ModelStats stays{.model = "stays", .queued = 1};
  const ModelStats gone{.model = "gone",
                        .queued = 3,
                        .running = 2,
                        .oldest_queued_age = milliseconds(1'500),
                        .paused = true};
  const auto tells_both = AllOf(HasSubstr("quern_queued_tasks{model=\"stays\"} 1\n"),
                                HasSubstr("quern_queued_tasks{model=\"gone\"} 3\n"),
                                HasSubstr("quern_running_tasks{model=\"gone\"} 2\n"),
                                HasSubstr("quern_queue_oldest_age_seconds{model=\"gone\"} 1.5\n"),
                                HasSubstr("quern_model_paused{model=\"gone\"} 1\n"));

  gauges.set(std::array{stays, gone});
  EXPECT_THAT(metrics.render(), tells_both);

  gauges.set(std::array{stays});
  EXPECT_THAT(metrics.render(),
              AllOf(HasSubstr("quern_queued_tasks{model=\"stays\"} 1\n"), Not(HasSubstr("gone"))));

  gauges.set(std::array{stays, gone});
  EXPECT_THAT(metrics.render(), tells_both);
}

}  // namespace
}  // namespace quern
