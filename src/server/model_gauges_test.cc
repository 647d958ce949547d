#include "server/model_gauges.h"

#include <gtest/gtest.h>

#include <array>

namespace quern {
namespace {

using std::chrono::milliseconds;

TEST(ModelGauges, GoToZeroWhenTheirModelIsGone) {
  Metrics metrics;
  ModelGauges gauges(metrics);
  const auto value = [&](std::string_view name) {
    return metrics.gauge(name, "", {{"model", "gone"}}).value();
  };
  const ModelStats stays{.model = "stays", .queued = 1};
  const ModelStats gone{.model = "gone",
                        .queued = 3,
                        .running = 2,
                        .oldest_queued_age = milliseconds(1'500),
                        .paused = true};

  gauges.set(std::array{stays, gone});
  EXPECT_EQ(value("quern_queued_tasks"), 3);
  EXPECT_EQ(value("quern_running_tasks"), 2);
  EXPECT_EQ(value("quern_queue_oldest_age_seconds"), 1.5);
  EXPECT_EQ(value("quern_model_paused"), 1);

  gauges.set(std::array{stays});
  EXPECT_EQ(value("quern_queued_tasks"), 0);
  EXPECT_EQ(value("quern_running_tasks"), 0);
  EXPECT_EQ(value("quern_queue_oldest_age_seconds"), 0);
  EXPECT_EQ(value("quern_model_paused"), 0);
  EXPECT_EQ(metrics.gauge("quern_queued_tasks", "", {{"model", "stays"}}).value(), 1);

  gauges.set(std::array{stays, gone});
  EXPECT_EQ(value("quern_queued_tasks"), 3);
}

}  // namespace
}  // namespace quern
