#include "base/metrics.h"

#include <gtest/gtest.h>
#include <time.h>

#include <limits>
#include <string>
#include <thread>

namespace quern {
namespace {

TEST(Metrics, RenderCountersAndGaugesByFamilyInTheOrderOfTheirMaking) {
  Metrics metrics;
  metrics.counter("quern_b_total", "Things.", {{"kind", "x"}}).add(3);
  metrics.gauge("quern_a", "Level.").set(0.25);
  metrics.counter("quern_b_total", "Things.", {{"kind", "y"}, {"more", "z"}}).add();

  EXPECT_EQ(metrics.render(),
            "# HELP quern_b_total Things.\n"
            "# TYPE quern_b_total counter\n"
            "quern_b_total{kind=\"x\"} 3\n"
            "quern_b_total{kind=\"y\",more=\"z\"} 1\n"
            "# HELP quern_a Level.\n"
            "# TYPE quern_a gauge\n"
            "quern_a 0.25\n");
}

TEST(Metrics, GiveTheSameMetricForTheSameNameAndLabels) {
  Metrics metrics;
  Counter& one = metrics.counter("quern_n_total", "N.", {{"a", "1"}});

  EXPECT_EQ(&metrics.counter("quern_n_total", "N.", {{"a", "1"}}), &one);
  EXPECT_NE(&metrics.counter("quern_n_total", "N.", {{"a", "2"}}), &one);
}

double cpu_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// A server makes some for each of its models while creates wait. To look through all of them for each
// took tens of seconds.
TEST(Metrics, AreMadeByTheThousandsInNoTime) {
  Metrics metrics;
  const double begun = cpu_seconds();
  for (int i = 0; i < 20'000; ++i) {
    metrics.counter("quern_n_total", "N.", {{"model", "a-model-" + std::to_string(i)}}).add();
  }

  EXPECT_LT(cpu_seconds() - begun, 3);
}

TEST(Metrics, RenderHistogramsCumulatively) {
  Metrics metrics;
  static constexpr double kBounds[] = {0.5, 1};
  Histogram& histogram = metrics.histogram("quern_wait_seconds", "Wait.", kBounds, {{"m", "echo"}});
  histogram.observe(0.5);  // a bound belongs to its bucket
  histogram.observe(0.75);
  histogram.observe(8);

  EXPECT_EQ(metrics.render(),
            "# HELP quern_wait_seconds Wait.\n"
            "# TYPE quern_wait_seconds histogram\n"
            "quern_wait_seconds_bucket{m=\"echo\",le=\"0.5\"} 1\n"
            "quern_wait_seconds_bucket{m=\"echo\",le=\"1\"} 2\n"
            "quern_wait_seconds_bucket{m=\"echo\",le=\"+Inf\"} 3\n"
            "quern_wait_seconds_sum{m=\"echo\"} 9.25\n"
            "quern_wait_seconds_count{m=\"echo\"} 3\n");
}

TEST(Metrics, EscapeLabelValuesAndHelpTexts) {
  Metrics metrics;
  metrics.counter("quern_x_total", "A \\ and\na \"line\".", {{"v", "a\"b\\c\nd"}});

  EXPECT_EQ(metrics.render(),
            "# HELP quern_x_total A \\\\ and\\na \"line\".\n"
            "# TYPE quern_x_total counter\n"
            "quern_x_total{v=\"a\\\"b\\\\c\\nd\"} 0\n");
}

TEST(Metrics, EndWhenTheyAreRemoved) {
  Metrics metrics;
  for (const char* model : {"a", "b"}) metrics.counter("quern_x_total", "", {{"m", model}}).add(2);

  metrics.remove("quern_x_total", {{"m", "a"}});
  metrics.remove("quern_x_total", {{"m", "none"}});
  metrics.remove("quern_none", {{"m", "b"}});
  EXPECT_EQ(metrics.render(),
            "# HELP quern_x_total \n# TYPE quern_x_total counter\nquern_x_total{m=\"b\"} 2\n");

  EXPECT_EQ(metrics.counter("quern_x_total", "", {{"m", "a"}}).value(), 0);
}

TEST(Metrics, RenderNumbersThatAreNone) {
  Metrics metrics;
  metrics.gauge("a", "").set(std::numeric_limits<double>::infinity());
  metrics.gauge("b", "").set(-std::numeric_limits<double>::infinity());
  metrics.gauge("c", "").set(std::numeric_limits<double>::quiet_NaN());

  const std::string text = metrics.render();

  EXPECT_NE(text.find("\na +Inf\n"), std::string::npos);
  EXPECT_NE(text.find("\nb -Inf\n"), std::string::npos);
  EXPECT_NE(text.find("\nc NaN\n"), std::string::npos);
}

TEST(Metrics, CollectBeforeEachRenderAndLetCollectorsMakeMetrics) {
  Metrics metrics;
  int renders = 0;
  metrics.on_render([&] { metrics.gauge("quern_renders", "Renders.").set(++renders); });

  EXPECT_NE(metrics.render().find("quern_renders 1\n"), std::string::npos);
  EXPECT_NE(metrics.render().find("quern_renders 2\n"), std::string::npos);
}

TEST(Metrics, LoseNoUpdateOfManyThreads) {
  Metrics metrics;
  const auto work = [&] {
    Counter& counter = metrics.counter("quern_n_total", "N.");
    Histogram& histogram = metrics.histogram("quern_h", "H.", size_bounds());
    for (int i = 0; i < 10'000; ++i) {
      counter.add();
      histogram.observe(2);
    }
  };
  {
    const std::jthread one(work);
    const std::jthread other(work);
  }

  EXPECT_EQ(metrics.counter("quern_n_total", "N.").value(), 20'000U);
  Histogram& histogram = metrics.histogram("quern_h", "H.", size_bounds());
  EXPECT_EQ(histogram.bucket(1), 20'000U);
  EXPECT_DOUBLE_EQ(histogram.sum(), 40'000);
}

TEST(Metrics, HaveBoundsThatAscend) {
  EXPECT_DOUBLE_EQ(latency_bounds().front(), 50e-6);
  EXPECT_DOUBLE_EQ(latency_bounds().back(), 10);
  EXPECT_DOUBLE_EQ(size_bounds().front(), 1);
  EXPECT_DOUBLE_EQ(size_bounds().back(), 4096);
  const Histogram checks_them(latency_bounds());
  const Histogram checks_these(size_bounds());
}

TEST(MetricsDeath, StopOnNamesThatPrometheusCannotRead) {
  Metrics metrics;
  EXPECT_DEATH(metrics.counter("quern-x", "X."), "broken invariant");
  EXPECT_DEATH(metrics.counter("quern_x", "X.", {{"le", "1"}}), "broken invariant");
  metrics.counter("quern_y", "Y.");
  EXPECT_DEATH(metrics.gauge("quern_y", "Y."), "broken invariant");
}

}  // namespace
}  // namespace quern
